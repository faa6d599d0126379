"""What the two sides of the sandbox say to each other: a request as JSON, a reply as JSON and bytes.

The sandbox is started for each file, and takes a request from us as it is. A reply comes from where strangers'
files are decoded: `decoding` checks it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, Literal

LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one decoding. Memory is address space, libraries included."""

    memory_bytes: int
    cpu_seconds: int
    reply_bytes: int
    max_pixels: int
    max_chars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A variant: no larger than the box, never larger than the picture."""

    name: str
    width: int
    height: int
    format: Literal["jpeg", "png", "webp", "avif", "heic"]
    quality: int
    fit: Literal["inside", "cover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """Make these of a picture of that format, Pillow's name for it."""

    kind: Literal["picture"] = "picture"
    format: str
    variants: tuple[Wanted, ...]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRequest:
    """The text of a document of that type."""

    kind: Literal["document"] = "document"
    type: str
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A variant as it came out; `bytes` is the length of its part of the reply."""

    name: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A refusal has a `code`. `width` and `height` are the picture's, upright. `truncated`: there is more text than was asked for."""

    code: str | None = None
    message: str = ""
    width: int = 0
    height: int = 0
    made: tuple[Made, ...] = ()
    truncated: bool = False


def write_request(request: PictureRequest | DocumentRequest) -> str:
    """For the command line."""
    return json.dumps(asdict(request))


def read_request(text: str) -> PictureRequest | DocumentRequest:
    """From the command line."""
    said = json.loads(text)
    limits = Limits(**said.pop("limits"))
    if said["kind"] == "document":
        return DocumentRequest(**said, limits=limits)
    variants = tuple(Wanted(**each) for each in said.pop("variants"))
    return PictureRequest(**said, variants=variants, limits=limits)


def write_reply(out: BinaryIO, reply: Reply, parts: Sequence[bytes]) -> None:
    """The reply, then its parts one after the other."""
    head = json.dumps(asdict(reply)).encode()
    out.write(len(head).to_bytes(LENGTH_BYTES, "big"))
    out.write(head)
    out.writelines(parts)
    out.flush()
