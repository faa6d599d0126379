"""Any picture as RGB or RGBA in sRGB, eight bits a channel: what every browser shows alike without a profile."""

import io
from contextlib import suppress

from PIL import Image, ImageCms

from app.files.sandbox.refusal import Refused

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_EXTRA = {"LA": "L", "La": "L", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "1": "L", "HSV": "RGB"}
_UNUSABLE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
"""What is raised for a profile that is broken, or of another kind of picture."""
_SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N")


def to_srgb(picture: Image.Image) -> Image.Image:
    """By the picture's own profile; without one, or with one that can't be used, its colours are taken to be
    sRGB already (CMYK: the plain complement). Raises Refused for pixels that are no colours.
    """
    profile = picture.info.get("icc_profile")
    if picture.mode in {"RGB", "RGBA"} and "transparency" not in picture.info:
        if profile:
            _in_place(picture, profile)
        return picture
    plain, alpha = _plain(picture)
    converted = _by_profile(plain, profile) if profile else None
    rgb = converted if converted is not None else plain.convert("RGB")
    if alpha is not None:
        rgb.putalpha(alpha)
    return rgb


def _in_place(picture: Image.Image, profile: bytes) -> None:
    """Without a second copy of a large picture; alpha stays as it is."""
    with suppress(*_UNUSABLE):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.profileToProfile(picture, source, _SRGB, outputMode=picture.mode, inPlace=True)


def _plain(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """L, RGB, CMYK or LAB, and the alpha channel if there is one."""
    if picture.mode in _SIXTEEN or picture.mode == "I":
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.mode in {"P", "PA"} or "transparency" in picture.info:
        has_alpha = picture.mode == "PA" or "transparency" in picture.info
        picture = picture.convert("RGBA" if has_alpha else "RGB")
    if picture.mode in {"RGBA", "LA"}:
        return picture.convert(picture.mode[:-1]), picture.getchannel("A")
    if picture.mode in {"L", "RGB", "CMYK", "LAB"}:
        return picture, None
    if picture.mode == "F":
        raise Refused(
            "The picture's pixels are measurements and not colours. Send it with 8 or 16 bits a channel.",
            "unsupported_pixels",
        )
    return picture.convert(_EXTRA.get(picture.mode, "RGB")), None


def _by_profile(plain: Image.Image, profile: bytes) -> Image.Image | None:
    """None where the profile is broken, or another kind of picture's."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(plain, source, _SRGB, outputMode="RGB")
    except _UNUSABLE:
        return None
