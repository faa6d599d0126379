"""Variants: the right size, the right way up, the right colours, and nothing in them but the picture."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import Engine

from app.files import making, store
from app.files.decoding import SandboxLost
from app.files.store import StoredFile
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.files import accepted_file, content, file_row, run_files
from tests.support.imports import dispatch
from tests.support.jobs import job_facts, lose_worker, requeue
from tests.support.pictures import (
    BLUE,
    RED,
    SECRET,
    encoded,
    gif_claiming,
    halves,
    heic_photo,
    metadata,
    opened,
    phone_photo,
    png_claiming,
    png_with_bomb,
    sticker,
    tiff_claiming,
)
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

FORMATS = ("jpeg", "png", "webp", "avif", "heic")
ALL = [{"name": each, "width": 120, "height": 120, "format": each} for each in FORMATS]
TELLING = (b"Exif", b"EXIF", b"xmp", b"ICC", b"iCCP", b"tEXt", SECRET.encode(), b"http://ns.adobe")
FAR = 40


@pytest.fixture
def made(worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> Any:
    """Makes variants of the bytes, and returns the file and each variant's own bytes."""

    def make(data: bytes, *variants: dict[str, Any]) -> tuple[StoredFile, dict[str, bytes]]:
        file_id = accepted_file(engine, storage, tenant.id, data, *variants)
        run_files(worker, engine)
        file = file_row(engine, tenant.id, file_id)
        assert file.error is None, file.error
        return file, {each.name: content(storage, each.object_key) for each in file.variants}

    return make


def near(pixel: Any, colour: tuple[int, ...]) -> bool:
    return all(abs(a - b) < FAR for a, b in zip(pixel, colour, strict=False))


def turned_wide(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """As the exchanged profile means it."""
    red, green, blue = colour
    return green, red, blue


def test_a_phones_photo_in_every_format(made: Any) -> None:
    file, variants = made(phone_photo(), *ALL)
    assert (file.width, file.height) == (400, 600)
    for row in file.variants:
        data = variants[row.name]
        picture = opened(data)
        assert picture.size == (row.width, row.height) == (80, 120), row.name
        assert row.bytes == len(data)
        rgb = picture.convert("RGB")
        assert near(rgb.getpixel((40, 20)), turned_wide(RED)), row.name
        assert near(rgb.getpixel((40, 100)), BLUE), row.name
        assert not dict(picture.getexif()), row.name
        assert not [mark for mark in TELLING if mark in data], row.name


def test_a_heic_photo(made: Any) -> None:
    file, variants = made(heic_photo(), *ALL)
    picture = opened(variants["jpeg"])
    assert (file.type, picture.format) == ("image/heic", "JPEG")
    assert SECRET.encode() not in variants["heic"]
    first = picture.convert("RGB").getpixel((3, 3))
    assert near(first, turned_wide(RED))


def test_the_defaults_are_never_larger_than_the_picture(made: Any) -> None:
    file, variants = made(encoded(halves((1500, 1000)), "PNG"))
    sizes = {each.name: (each.width, each.height) for each in file.variants}
    assert sizes == {"thumb": (320, 213), "medium": (1024, 683), "large": (1500, 1000)}
    assert opened(variants["thumb"]).format == "WEBP"


def test_one_that_covers_its_box_is_cut_in_the_middle(made: Any) -> None:
    box = {"width": 100, "height": 100, "format": "png"}
    _, variants = made(
        encoded(halves(), "PNG"),
        {"name": "square", "fit": "cover", **box},
        {"name": "slim", "width": 500, "height": 500, "format": "png", "fit": "cover"},
    )
    square = opened(variants["square"])
    assert square.size == (100, 100)
    assert near(square.getpixel((20, 50)), RED)
    assert near(square.getpixel((80, 50)), BLUE)
    assert opened(variants["slim"]).size == (500, 400)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_stays_so_and_is_white_as_jpeg(made: Any, mode: str) -> None:
    kind = "TIFF" if mode == "PA" else "PNG"
    picture = sticker("RGBA" if mode in {"P", "PA"} else mode)
    more: dict[str, Any] = {}
    if mode == "P":
        picture = picture.quantize(16)
    _, variants = made(encoded(picture, kind, **more), *ALL)
    for name in ("png", "webp", "avif", "heic"):
        assert opened(variants[name]).convert("RGBA").getchannel("A").getpixel((5, 5)) == 0, name
    assert near(opened(variants["jpeg"]).getpixel((5, 5)), (255, 255, 255))
    assert not near(opened(variants["jpeg"]).getpixel((60, 60)), (255, 255, 255))


def test_a_profile_and_alpha_together(made: Any) -> None:
    from tests.support.pictures import wide_profile

    data = encoded(sticker(), "PNG", icc_profile=wide_profile())
    _, variants = made(data, {**ALL[1], "name": "v"})
    picture = opened(variants["v"])
    assert near(picture.getpixel((60, 60)), (*turned_wide(RED), 255))
    assert picture.getchannel("A").getpixel((5, 5)) == 0


def odd_pictures() -> dict[str, bytes]:
    grey = Image.linear_gradient("L").resize((300, 300))
    deep = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    frames = [Image.new("RGB", (300, 300), colour) for colour in (RED, BLUE)]
    return {
        "CMYK": encoded(halves((300, 300)).convert("CMYK"), "JPEG"),
        "16 bits": encoded(deep, "PNG"),
        "grey": encoded(grey, "PNG"),
        "one bit": encoded(grey.convert("1"), "PNG"),
        "lab": encoded(halves((300, 300)).convert("YCbCr").convert("RGB").convert("LAB"), "TIFF"),
        "animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "broken profile": encoded(halves((300, 300)), "PNG", icc_profile=b"no profile"),
        "tiff": encoded(halves((300, 300)), "TIFF", compression="tiff_lzw"),
        "bmp": encoded(halves((300, 300)), "BMP"),
        "avif": encoded(halves((300, 300)), "AVIF"),
    }


@pytest.mark.parametrize("name", list(odd_pictures()))
def test_every_kind_of_pixels(made: Any, name: str) -> None:
    _, variants = made(odd_pictures()[name], {**ALL[1], "name": "v"})
    picture = opened(variants["v"])
    assert (picture.size, picture.mode) == ((120, 120), "RGB")
    if name in {"16 bits", "grey"}:
        assert near(picture.getpixel((60, 2)), (0, 0, 0))
        assert near(picture.getpixel((60, 60)), (128, 128, 128))
        assert near(picture.getpixel((60, 118)), (255, 255, 255))
    elif name != "one bit":
        assert near(picture.getpixel((10, 60)), RED)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "AVIF", "PNG"])
def test_the_orientation_counts_in_every_format(made: Any, kind: str) -> None:
    exif = metadata()["exif"]
    file, variants = made(encoded(halves((301, 300)), kind, exif=exif), {**ALL[1], "name": "v"})
    assert (file.width, file.height) == (300, 301)
    assert near(opened(variants["v"]).getpixel((60, 10)), RED)
    assert near(opened(variants["v"]).getpixel((60, 110)), BLUE)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (partial(png_claiming, 100_000, 100_000), "too_many_pixels"),
        (partial(gif_claiming, 65_000, 65_000), "too_many_pixels"),
        (partial(tiff_claiming, 100_000, 100_000), "too_many_pixels"),
        (partial(png_with_bomb, b"iCCP"), "undecodable"),
        (partial(png_with_bomb, b"zTXt"), "undecodable"),
        (lambda: encoded(halves(), "JPEG")[:3000], "undecodable"),
        (lambda: encoded(halves(), "HEIF")[:400], "undecodable"),
        (partial(png_claiming, 100, 100), "undecodable"),
        (lambda: encoded(Image.new("F", (50, 50)), "TIFF"), "unsupported_pixels"),
    ],
    ids=["png", "gif", "tiff", "iCCP", "zTXt", "cut jpeg", "cut heic", "hollow", "floats"],
)
def test_bombs_and_broken_files_fail_at_once_and_say_why(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    make: Callable[[], bytes],
    code: str,
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, make())
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, file.error and file.error["code"]) == ("failed", code)
    assert {each.state for each in file.variants} == {"failed"}
    assert storage.keys() == [file.object_key]


def test_an_attempt_that_dies_leaves_no_row_and_the_next_one_does_it(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, encoded(halves(), "PNG"))
    ((job_id, _),) = dispatch(engine)

    def die(*_: Any) -> None:
        raise SandboxLost("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "variant_done", die)
        worker.deliver(job_id)
    left = set(storage.keys())
    assert {each.state for each in file_row(engine, tenant.id, file_id).variants} == {"waiting"}
    requeue(engine, job_id)
    worker.deliver(job_id)
    named = {each.object_key for each in file_row(engine, tenant.id, file_id).variants}
    assert not named & left
    lose_worker(engine, job_id)
    monkeypatch.setattr(making, "make_variants", die)
    worker.deliver(job_id, redelivered=True)
    assert job_facts(engine, job_id).state == "cancelled"
    assert {each.object_key for each in file_row(engine, tenant.id, file_id).variants} == named


def test_a_file_that_is_deleted_meanwhile_is_nobodys_work(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id: UUID = accepted_file(engine, storage, tenant.id, encoded(halves(), "PNG"))
    with engine.begin() as tx:
        assert store.delete(tx, tenant.id, file_id)
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "cancelled"


def test_pillow_reads_what_we_made(made: Any) -> None:
    _, variants = made(encoded(halves((33, 7)), "PNG"), *ALL)
    assert {Image.open(io.BytesIO(each)).size for each in variants.values()} == {(33, 7)}
