"""What JSON bodies may hold: so many bytes, and text that can be kept and shown."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.errors import InvalidRequest, TooLarge
from app.ledger.job_error import printable

MAX_BODY_BYTES = 256 * 1024
DRAIN_BYTES = 16 * 1024 * 1024
"""A client that is still sending would see a broken connection instead of our answer."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BoundedRoute(APIRoute):
    """A route that reads at most MAX_BODY_BYTES into memory; answers 413 to more."""

    def get_route_handler(self) -> Handler:
        """The framework's own handler, given a body that is known to be small."""
        handle = super().get_route_handler()
        if not {"POST", "PUT", "PATCH"} & (self.methods or set()):
            return handle

        async def bounded(request: Request) -> Response:
            body = await read_body(request)

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, receive))

        return bounded


class Body(BaseModel):
    """A request's JSON object: what it doesn't know it refuses."""

    model_config = ConfigDict(extra="forbid")


def storable(text: str) -> str:
    """The text, if it can be kept. Raises ValueError."""
    if printable(text) != text:
        raise ValueError("Leave out NUL characters and lone surrogates.")
    return text


Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]
Reason = Annotated[
    str,
    Field(min_length=3, max_length=500, description="Kept in the job's history."),
    AfterValidator(storable),
]
Moment = Annotated[AwareDatetime, Field(description="With its offset from UTC.")]


async def read_body(request: Request) -> bytes:
    """The whole of a small body. Raises TooLarge, and InvalidRequest for one that breaks off."""
    blocks: list[bytes] = []
    size = 0
    try:
        async for block in request.stream():
            size += len(block)
            if size <= MAX_BODY_BYTES:
                blocks.append(block)
            elif size > DRAIN_BYTES:
                break
    except ClientDisconnect:
        raise InvalidRequest(
            "The connection ended before the body did. Send it again, whole.",
            code="incomplete_body",
        ) from None
    if size > MAX_BODY_BYTES:
        raise TooLarge(f"The body is over the limit of {MAX_BODY_BYTES} bytes. Send less.")
    return b"".join(blocks)
