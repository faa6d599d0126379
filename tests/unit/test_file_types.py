"""What a file is, its bytes say; and how decoding is bounded."""

import io
import tempfile
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.files.decoding import decoded, document_limits
from app.files.objects import file_of, source_key, text_key, variant_key
from app.files.protocol import DocumentRequest, Limits, PictureRequest
from app.files.types import TYPES, check_name, detect
from app.ids import new_id
from tests.support.documents import pdf, word
from tests.support.pictures import encoded, halves

MIB = 1024 * 1024
SMALL = Limits(
    memory_bytes=4096 * MIB, cpu_seconds=20, reply_bytes=MIB, max_pixels=10**8, max_chars=10
)
PICTURES = {f"image/{kind.lower()}": kind for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")}


@pytest.mark.parametrize("name", list(PICTURES))
def test_pictures(name: str) -> None:
    assert detect(io.BytesIO(encoded(halves((8, 8)), PICTURES[name]))).name == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pdf("x"), "application/pdf"),
        (word(), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"\xef\xbb\xbf <!doctype HTML><p>x", "text/html"),
        (b"# A title\n", "text/plain"),
        ("日本".encode("utf-16"), "text/plain"),
        ("naïve".encode("latin-1"), "text/plain"),
    ],
)
def test_documents(data: bytes, name: str) -> None:
    assert detect(io.BytesIO(data)).name == name


@given(st.binary(max_size=300))
def test_any_bytes_are_a_type_or_refused(data: bytes) -> None:
    with suppress(Unprocessable):
        assert detect(io.BytesIO(data)).name in TYPES


@pytest.mark.parametrize(
    ("found", "filename", "media_type", "fits"),
    [
        ("image/jpeg", "A.JPG", "image/jpg", True),
        ("image/jpeg", "a.png", "", False),
        ("image/heic", "IMG.HEIC", "image/heif", True),
        ("text/plain", "notes.md", "text/markdown", True),
        ("text/plain", "a.pdf", "", False),
        ("text/html", "a.txt", "text/html", False),
        ("image/png", "archive.tar.gz", "application/octet-stream", True),
        ("image/png", "x", "text/html", False),
    ],
)
def test_the_name_and_the_senders_word_may_only_agree(
    found: str, filename: str, media_type: str, fits: bool
) -> None:
    if fits:
        check_name(TYPES[found], filename, media_type)
        return
    with pytest.raises(Unprocessable) as refused:
        check_name(TYPES[found], filename, media_type)
    assert refused.value.code == "type_mismatch"


def test_keys_say_whose_they_are() -> None:
    tenant, file = new_id(), new_id()
    keys = [
        source_key(tenant, file),
        variant_key(tenant, file, "thumb", "a-1", "webp"),
        text_key(tenant, file, "a-1"),
    ]
    assert [file_of(key) for key in keys] == [file] * 3
    assert file_of(f"tenants/{tenant}/imports/{file}/source") is None
    assert file_of(f"tenants/{tenant}/files/no-uuid/source") is None


def run(data: bytes, request: PictureRequest | DocumentRequest) -> str:
    """The code of the refusal."""
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.flush()
        with pytest.raises(Unprocessable) as refused, decoded(source, request):
            pass
    return refused.value.code


def test_memory_is_bounded() -> None:
    picture = encoded(halves((9000, 9000)), "PNG")
    limits = replace(SMALL, memory_bytes=300 * MIB)
    request = PictureRequest(format="PNG", variants=(), limits=limits)
    assert run(picture, request) == "too_large_to_decode"


def test_time_is_bounded() -> None:
    limits = replace(document_limits(), cpu_seconds=1)
    deep = b"<p>" * 16_000_000
    assert run(deep, DocumentRequest(type="text/html", limits=limits)) == "too_slow_to_decode"


def test_a_reply_is_bounded() -> None:
    limits = replace(document_limits(), reply_bytes=1000)
    request = DocumentRequest(type="text/plain", limits=limits)
    assert run(b"word " * 1000, request) == "undecodable"


def test_the_sandbox_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.files import decoding

    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://user:hidden@localhost/db")
    assert "hidden" not in str(decoding._environment())
