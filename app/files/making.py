"""From a file in the store to what is made of it, in the store again: no row is written here."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from app.files.decoding import decoded, document_limits, picture_limits
from app.files.objects import text_key, variant_key
from app.files.protocol import DocumentRequest, Made, PictureRequest
from app.files.store import StoredFile
from app.files.types import TYPES
from app.ledger.job_error import printable
from app.settings import Settings
from app.storage import Storage

EXCERPT_CHARS = 500
TEXT_TYPE = "text/plain; charset=utf-8"
_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif", "heic": "heic"}

Between = Callable[[Iterable[bytes]], Iterable[bytes]]
"""Wraps what takes long, to look now and then whether it is still wanted."""


class Pictures:
    """The picture's size, and the variants that were made, each with its key."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.made: list[tuple[Made, str]] = []


class Text:
    """A document's text; `key` is None when there is none."""

    def __init__(self, key: str | None, text: str, *, truncated: bool) -> None:
        self.key = key
        self.text = text
        self.truncated = truncated

    @property
    def excerpt(self) -> str:
        """How it begins, on one line."""
        return printable(" ".join(self.text[: 4 * EXCERPT_CHARS].split()))[:EXCERPT_CHARS]


def make_variants(
    storage: Storage, settings: Settings, file: StoredFile, attempt: str, between: Between
) -> Pictures:
    """Those that are waiting, under keys of this attempt's own. Raises as `decoded` does."""
    waiting = {each.name: each.spec for each in file.waiting}
    request = PictureRequest(
        format=TYPES[file.type].pillow or "",
        variants=tuple(spec.wanted for spec in waiting.values()),
        limits=picture_limits(settings),
    )
    with _local(storage, file, between) as source, decoded(source, request) as answer:
        done = Pictures(answer.reply.width, answer.reply.height)
        for made in answer.reply.made:
            extension = _EXTENSIONS[waiting[made.name].format]
            key = variant_key(file.tenant_id, file.id, made.name, attempt, extension)
            content_type = f"image/{waiting[made.name].format}"
            storage.put(key, answer.parts.read(made.bytes), content_type=content_type)
            done.made.append((made, key))
    return done


def extract_text(storage: Storage, file: StoredFile, attempt: str, between: Between) -> Text:
    """The text, under a key of this attempt's own. Raises as `decoded` does."""
    request = DocumentRequest(type=file.type, limits=document_limits())
    with _local(storage, file, between) as source, decoded(source, request) as answer:
        data = answer.parts.read()
        truncated = answer.reply.truncated
    text = data.decode("utf-8", "replace")
    if not text:
        return Text(None, "", truncated=False)
    key = text_key(file.tenant_id, file.id, attempt)
    storage.put(key, data, content_type=TEXT_TYPE)
    return Text(key, text, truncated=truncated)


@contextmanager
def _local(storage: Storage, file: StoredFile, between: Between) -> Iterator[IO[bytes]]:
    """The file on this machine, without a name."""
    with tempfile.TemporaryFile() as source:
        for block in between(storage.stream(file.object_key)):
            source.write(block)
        source.flush()
        yield source
