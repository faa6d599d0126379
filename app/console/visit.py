"""An operator's request: who it is, what their role lets them see, and pages also for what goes wrong."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import structlog
from fastapi import Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.api.bodies import BoundedRoute
from app.api.browser import check_csrf, check_origin, load_session, token_of
from app.api.problems import (
    BUSY,
    BUSY_SECONDS,
    RETRY_AFTER_SECONDS,
    UNSTORABLE,
    field_problem,
    when_again,
)
from app.api.request_id import request_id
from app.api.session import EngineDep
from app.console.pages import page, redirect, to_sign_in
from app.errors import Forbidden, MillraceError, NotFound, Unauthenticated, Unprocessable
from app.operations import audit
from app.operations.actor import Actor, Via
from app.roles import Role
from app.sessions import Session

log = structlog.get_logger()

HIDDEN = "\N{BULLET}" * 6
"""What stands in the place of what a viewer doesn't see."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in operator's request."""

    request: Request
    session: Session
    actor: Actor

    @property
    def sees_data(self) -> bool:
        """Whether this is one who sees what customers sent: payloads, error messages, addresses."""
        return self.actor.role.covers(Role.OPERATOR)

    def may(self, least: str) -> bool:
        """Whether the role covers that one: for what a page offers. The operations check it themselves."""
        return self.actor.role.covers(Role(least))

    def hide(self, value: Any) -> Any:
        """The value, for who sees data; a sign that there is one for who doesn't."""
        return value if self.sees_data or value is None else HIDDEN

    def veil(self, facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
        """The facts, in which these are hidden. A template never gets to see what it must not show."""
        return {name: self.hide(value) if name in names else value for name, value in facts.items()}

    def error(self, error: Mapping[str, str] | None) -> dict[str, Any] | None:
        """Why something failed, with all its parts; their words may quote what customers sent."""
        if error is None:
            return None
        parts = {"type": None, "frame": None, "traceback": None, **error}
        return self.veil(parts, "message", "traceback")

    def page(self, template: str, tx: Connection, **facts: Any) -> Response:
        """The page, which also says what the last action came to."""
        return page(
            self.request,
            template,
            self.session,
            visit=self,
            done=self._done(tx),
            here=self.request.url.path,
            **facts,
        )

    def _done(self, tx: Connection) -> audit.Entry | None:
        """The action that has led here, if it was this key's own."""
        try:
            entry_id = UUID(self.request.query_params.get("done", ""))
        except ValueError:
            return None
        entry = audit.load(tx, entry_id)
        return entry if entry is not None and entry.key_id == self.session.key_id else None


class ConsoleRoute(BoundedRoute):
    """Errors become pages, and who isn't signed in goes to the door."""

    def get_route_handler(self) -> Handler:
        """The framework's own handler, whose refusals are answered for people."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except _TOLD as error:
                return _told(request, error)

        return answered


_TOLD = (MillraceError, RequestValidationError, DataError, OperationalError, PoolTimeout)


def _told(request: Request, error: Exception) -> Response:
    match error:
        case Unauthenticated():
            return to_sign_in(request)
        case MillraceError():
            again = when_again(error)
            return trouble(request, error.status, error.title, str(error), again=again)
        case RequestValidationError():
            faults = [field_problem(one, request) for one in error.errors()]
            words = ". ".join(
                f"{one.field.rpartition('.')[2]}: {one.message.rstrip('.')}" for one in faults
            )
            return trouble(request, 422, "Can't be processed", f"Correct this. {words}.")
        case DataError():
            return trouble(request, 422, "Can't be processed", UNSTORABLE)
    return _database(request, error)


def _database(request: Request, error: Exception) -> Response:
    """It is busy, or away: then nobody can be known to be signed in."""
    if getattr(getattr(error, "orig", None), "sqlstate", None) in BUSY:
        words = "Somebody else is changing the same thing. Try again in a moment."
        return trouble(request, 503, "Busy", words, again={"Retry-After": str(BUSY_SECONDS)})
    log.error("http.database_away", error=type(error).__name__)
    return page(
        request,
        "trouble.html",
        status=503,
        again={"Retry-After": str(RETRY_AFTER_SECONDS)},
        trouble="Temporarily unavailable",
        words="The database doesn't answer. Try again in a few seconds.",
        was_sent=False,
    )


def trouble(
    request: Request,
    status: int,
    title: str,
    words: str,
    *,
    again: Mapping[str, str] | None = None,
) -> Response:
    """The page that says what went wrong, and leads back."""
    token = token_of(request)
    session = None if token is None else load_session(request.app.state.engine, token)
    return page(
        request,
        "trouble.html",
        session,
        status=status,
        again=again,
        trouble=title,
        was_sent=request.method != "GET",
        words=words,
    )


def reading(request: Request, engine: EngineDep) -> Visit:
    """Who looks. Raises Unauthenticated, and Forbidden for a tenant's session."""
    token = token_of(request)
    session = None if token is None else load_session(engine, token)
    if session is None:
        raise Unauthenticated("Sign in first.")
    if not session.role.runs_the_product:
        raise Forbidden("This page is for who runs the product. Yours are the imports.")
    actor = Actor(
        name=session.key_name,
        role=session.role,
        via=Via.CONSOLE,
        key_id=session.key_id,
        request_id=request_id(request),
    )
    return Visit(request, session, actor)


Reading = Annotated[Visit, Depends(reading)]


def acting(visit: Reading, csrf: Annotated[str, Form()] = "") -> Visit:
    """Who changes something, from a page of ours. Raises Forbidden for what comes from elsewhere."""
    check_origin(visit.request)
    check_csrf(token_of(visit.request) or "", csrf)
    return visit


Acting = Annotated[Visit, Depends(acting)]
Why = Annotated[str, Form(max_length=2000)]
"""The reason. How long it may be is the operation's to say, in words."""


def back(path: str, entry: UUID | None = None, **query: object) -> Response:
    """To a page of ours, which says what was done."""
    words = {name: str(value) for name, value in query.items() if value is not None}
    if entry is not None:
        words["done"] = str(entry)
    return redirect(f"{path}?{urlencode(words)}" if words else path)


def an_id(words: str, what: str) -> UUID:
    """Out of an address. Raises NotFound for what is no id."""
    try:
        return UUID(words)
    except ValueError:
        raise NotFound(
            f"There is no {what} {words!r}. The address may have been cut short."
        ) from None


def read_time(words: str) -> datetime | None:
    """As a form sends it; UTC where nothing else is said. Raises Unprocessable."""
    if not words:
        return None
    try:
        time = datetime.fromisoformat(words)
    except ValueError:
        raise Unprocessable(f"{words!r} is no time. Use one like 2026-05-01T08:00.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
