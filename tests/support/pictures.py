"""Pictures as phones and programs write them, made anew for each test."""

import io
import struct
import zlib
from functools import lru_cache
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

pillow_heif.register_heif_opener()
SECRET = "private-note"
RED, BLUE = (200, 30, 30), (30, 30, 200)


def encoded(picture: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def halves(size: tuple[int, int] = (600, 400)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture


@lru_cache
def wide_profile() -> bytes:
    """A profile in which red and green are exchanged: whoever ignores it shows the wrong colours."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    entries = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data)


def metadata() -> dict[str, Any]:
    """EXIF with an orientation, a place and an owner; XMP."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9C9B] = SECRET.encode()
    exif[0x013B] = SECRET
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return {"exif": exif, "xmp": f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()}


def phone_photo() -> bytes:
    """Taken upright by a sensor that lies: turned by its EXIF, wide colours, a place, a comment."""
    return encoded(
        halves(), "JPEG", quality=95, icc_profile=wide_profile(), comment=SECRET, **metadata()
    )


def heic_photo() -> bytes:
    picture = halves()
    picture.info["icc_profile"] = wide_profile()
    return encoded(picture, "HEIF", quality=90, icc_profile=wide_profile(), **metadata())


def sticker(mode: str = "RGBA") -> Image.Image:
    """A red disc's worth of square on nothing."""
    picture = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    picture.paste((*RED, 255), (100, 100, 200, 200))
    return picture.convert(mode)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width: int, height: int) -> bytes:
    """A small file that says it is large; there are hardly any pixels in it."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(100)))


def png_with_bomb(name: bytes) -> bytes:
    """A good small picture with a chunk that unpacks to 100 MB."""
    plain = encoded(halves((8, 8)), "PNG")
    packed = zlib.compress(bytes(100_000_000), 9)
    bomb = _chunk(name, b"name\0\0" + packed)
    at = plain.index(b"IDAT") - 4
    return plain[:at] + bomb + plain[at:]


def gif_claiming(width: int, height: int) -> bytes:
    small = bytearray(encoded(halves((8, 8)), "GIF"))
    small[6:10] = struct.pack("<HH", width, height)
    return bytes(small)


def tiff_claiming(width: int, height: int) -> bytes:
    plain = encoded(halves((8, 8)), "TIFF")
    entries = [(256, 4, 1, width), (257, 4, 1, height)]
    at = struct.unpack("<I", plain[4:8])[0]
    data = bytearray(plain)
    for index in range(struct.unpack("<H", plain[at : at + 2])[0]):
        place = at + 2 + 12 * index
        tag = struct.unpack("<H", plain[place : place + 2])[0]
        for wanted, kind, count, value in entries:
            if tag == wanted:
                data[place : place + 12] = struct.pack("<HHII", tag, kind, count, value)
    return bytes(data)
