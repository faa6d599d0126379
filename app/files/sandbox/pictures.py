"""Pictures in several sizes: upright, in sRGB, never enlarged, and with nothing in them but pixels."""

import io
import warnings
from typing import BinaryIO

import pillow_heif
from PIL import ExifTags, Image, ImageOps

from app.files.protocol import Made, PictureRequest, Reply, Wanted
from app.files.sandbox.colour import to_srgb
from app.files.sandbox.refusal import Refused

_WHITE = (255, 255, 255)
_SPARE = 2
"""A picture is first brought to this many times the largest size, cheaply; the rest is done well."""
_TURNED = (5, 6, 7, 8)
"""Orientations that exchange width and height."""
_AVERAGES = ("L", "LA", "RGB", "RGBA", "CMYK")
_FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    KeyError,
    TypeError,
    IndexError,
    RuntimeError,
)
"""What decoders raise for files that aren't as they should be."""


def make_variants(source: BinaryIO, request: PictureRequest) -> tuple[Reply, list[bytes]]:
    """All of them, from the first frame or page. Raises Refused, MemoryError."""
    _prepare(request.limits.max_pixels)
    largest = max((max(each.width, each.height) for each in request.variants), default=1)
    upright, size = _load(_open(source, request), largest, request.limits.max_pixels)
    srgb = to_srgb(upright)
    made: list[Made] = []
    parts: list[bytes] = []
    for wanted in request.variants:
        variant = _resized(srgb, size, wanted)
        data = _encode(variant, wanted)
        made.append(
            Made(name=wanted.name, width=variant.width, height=variant.height, bytes=len(data))
        )
        parts.append(data)
    return Reply(width=size[0], height=size[1], made=tuple(made)), parts


def _prepare(max_pixels: int) -> None:
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.AUX_IMAGES = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.register_heif_opener()


def _open(source: BinaryIO, request: PictureRequest) -> Image.Image:
    """Its header is read, and nothing is decoded yet."""
    try:
        picture = Image.open(source, formats=[request.format])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _bomb(request.limits.max_pixels) from None
    except _FAULTS as bad:
        raise _broken(bad) from None
    if picture.width * picture.height > request.limits.max_pixels:
        raise _bomb(request.limits.max_pixels)
    return picture


def _load(
    picture: Image.Image, largest: int, max_pixels: int
) -> tuple[Image.Image, tuple[int, int]]:
    """The pixels, upright and not much larger than what is made of them, and the upright size of it all."""
    whole = picture.size
    try:
        profile = picture.info.get("icc_profile")
        picture.draft(None, (largest * _SPARE, largest * _SPARE))
        picture.load()
        if picture.width * picture.height > max_pixels:
            raise _bomb(max_pixels)
        turned = picture.getexif().get(ExifTags.Base.Orientation) in _TURNED
        upright = _reduced(picture, largest)
        ImageOps.exif_transpose(upright, in_place=True)
    except _FAULTS as bad:
        raise _broken(bad) from None
    upright.info["icc_profile"] = profile
    return upright, (whole[1], whole[0]) if turned else whole


def _reduced(picture: Image.Image, largest: int) -> Image.Image:
    """Where that leaves enough to do it well. Colours of a palette, or one that stands for transparent, can't
    be averaged yet.
    """
    scale = largest * _SPARE / min(picture.size)
    averages = picture.mode in _AVERAGES and "transparency" not in picture.info
    if scale >= 1 or not averages:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    smaller = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    smaller.info = dict(picture.info)
    return smaller


def _resized(picture: Image.Image, whole: tuple[int, int], wanted: Wanted) -> Image.Image:
    """Into the box, or so that it covers the box; to the pixel."""
    ratios = (wanted.width / whole[0], wanted.height / whole[1])
    scale = min(1.0, max(ratios) if wanted.fit == "cover" else min(ratios))
    size = (max(1, round(whole[0] * scale)), max(1, round(whole[1] * scale)))
    resized = picture
    if size != picture.size:
        resized = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if wanted.fit == "cover":
        box = (min(wanted.width, size[0]), min(wanted.height, size[1]))
        left, top = (size[0] - box[0]) // 2, (size[1] - box[1]) // 2
        resized = resized.crop((left, top, left + box[0], top + box[1]))
    return resized


def _encode(picture: Image.Image, wanted: Wanted) -> bytes:
    """Onto an empty picture first: what the old one carried along stays behind."""
    mode = "RGB" if wanted.format == "jpeg" else picture.mode
    fresh = Image.new(mode, picture.size, _WHITE if mode == "RGB" else (0, 0, 0, 0))
    fresh.paste(
        picture, mask=picture.getchannel("A") if picture.mode == "RGBA" and mode == "RGB" else None
    )
    out = io.BytesIO()
    match wanted.format:
        case "jpeg":
            fresh.save(out, "JPEG", quality=wanted.quality, optimize=True, progressive=True)
        case "png":
            fresh.save(out, "PNG", compress_level=6)
        case "webp":
            fresh.save(out, "WEBP", quality=wanted.quality, method=4)
        case "avif":
            fresh.save(out, "AVIF", quality=wanted.quality, speed=8, max_threads=1)
        case "heic":
            fresh.save(out, "HEIF", quality=wanted.quality, enc_params={"x265:pools": "none"})
    return out.getvalue()


def _bomb(max_pixels: int) -> Refused:
    return Refused(
        f"The picture has more than {max_pixels} pixels. Send a smaller one.", "too_many_pixels"
    )


def _broken(bad: Exception) -> Refused:
    return Refused(f"The picture can't be decoded: {str(bad)[:200]}", "undecodable")
