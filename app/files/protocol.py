"""What the two sides of the sandbox say to each other: a request as JSON, a reply as JSON and bytes."""

from collections.abc import Sequence
from typing import Annotated, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_LENGTH_BYTES = 8


class Part(BaseModel):
    """Frozen, and nothing that isn't declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Part):
    """Of one decoding. Memory is address space, libraries included."""

    memory_bytes: int
    cpu_seconds: int
    reply_bytes: int
    max_pixels: int
    max_chars: int


class Wanted(Part):
    """A variant: no larger than the box, never larger than the picture."""

    name: str
    width: int
    height: int
    format: Literal["jpeg", "png", "webp", "avif", "heic"]
    quality: int
    fit: Literal["inside", "cover"]


class PictureRequest(Part):
    """Make these of a picture of that format, Pillow's name for it."""

    kind: Literal["picture"] = "picture"
    format: str
    variants: tuple[Wanted, ...]
    limits: Limits


class DocumentRequest(Part):
    """The text of a document of that type."""

    kind: Literal["document"] = "document"
    type: str
    limits: Limits


class Made(Part):
    """A variant as it came out; `bytes` is the length of its part of the reply."""

    name: str
    width: int
    height: int
    bytes: int


class Reply(Part):
    """A refusal has a `code`. `width` and `height` are the picture's, upright. `truncated`: there is more text than was asked for."""

    code: str | None = None
    message: str = ""
    width: int = 0
    height: int = 0
    made: tuple[Made, ...] = ()
    truncated: bool = False


Request = Annotated[PictureRequest | DocumentRequest, Field(discriminator="kind")]
_REQUEST: TypeAdapter[PictureRequest | DocumentRequest] = TypeAdapter(Request)


def read_request(text: str) -> PictureRequest | DocumentRequest:
    """From the command line."""
    return _REQUEST.validate_json(text)


def write_reply(out: BinaryIO, reply: Reply, parts: Sequence[bytes]) -> None:
    """The reply, then its parts one after the other."""
    head = reply.model_dump_json().encode()
    out.write(len(head).to_bytes(_LENGTH_BYTES, "big"))
    out.write(head)
    out.writelines(parts)
    out.flush()


def read_reply(source: BinaryIO) -> Reply:
    """The source is then at the first part. Raises ValueError for anything but a reply."""
    length = int.from_bytes(source.read(_LENGTH_BYTES), "big")
    return Reply.model_validate_json(source.read(min(length, 1024 * 1024)))
