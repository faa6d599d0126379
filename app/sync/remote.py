"""The remote system's API, as docs/sync.md describes it: limited, guarded by the circuit breaker, typed.

What a request may come to, besides its answer:

    RemoteError
    ├── Later             nothing is wrong, but not now: `seconds` (rate limit, Retry-After, open circuit)
    ├── RemoteFailure     no answer, half an answer, 5xx: worth another try
    ├── Unauthorized      the token is no longer good
    ├── Refused           it will never be taken like this
    ├── CursorExpired     begin the sweep again
    ├── RemoteGone        there is no such contact (any more)
    ├── VersionMismatch   the contact has changed since we saw it
    └── AlreadyThere      another contact has this e-mail address
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, ValidationError

from app.ledger.job_error import printable
from app.outbound.breaker import Breaker, CircuitOpen
from app.outbound.errors import OutboundError
from app.outbound.http import Answer, OutboundHttp
from app.outbound.limiter import Limiter, RateLimited
from app.outbound.retry_after import retry_after

PAGE_ITEMS = 100
MAX_ANSWER_BYTES = 4 * 1024 * 1024
TIMEOUT_SECONDS = 15.0
MAX_WAIT_SECONDS = 3.0
"""A longer wait is for the ledger: the worker has others to serve."""
MAX_RETRY_AFTER_SECONDS = 3600.0
_OK = range(200, 300)
_NOT_LET_IN = "The server refuses the token ({status}). Set a new one: PATCH /v1/connections/{{id}} with 'token'."

Shape = TypeVar("Shape", bound=BaseModel)


class RemoteError(Exception):
    """Root of the tree. Messages may be shown to the tenant."""


class Later(RemoteError):
    """Ask again after `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class RemoteFailure(RemoteError):
    """The server is down, or as good as."""


class Unauthorized(RemoteError):
    """401, or 403 to the list: a contact that may not be changed is that contact's affair."""


class Refused(RemoteError):
    """Another 4xx, or an answer that isn't in the agreed shape."""


class CursorExpired(RemoteError):
    """410 to a list."""


class RemoteGone(RemoteError):
    """404 or 410 to a contact."""


class VersionMismatch(RemoteError):
    """412."""


class AlreadyThere(RemoteError):
    """409 to a new contact; `remote_id` is the one that has the address, where the server says so."""

    def __init__(self, message: str, remote_id: str | None) -> None:
        super().__init__(message)
        self.remote_id = remote_id


def _text(value: str | None) -> str | None:
    """As PostgreSQL can keep it; empty is null, as it is here."""
    return printable(value).strip() or None if value is not None else None


Text = Annotated[str | None, Field(max_length=10_000), AfterValidator(_text)]
Opaque = Annotated[str, Field(min_length=1, max_length=2000)]


class RemoteContact(BaseModel):
    """A contact as the remote has it. One that is `deleted` needs no fields."""

    id: Annotated[str, Field(min_length=1, max_length=255)]
    version: Annotated[str, Field(min_length=1, max_length=255)]
    updated_at: AwareDatetime
    deleted: bool = False
    email: Text = None
    first_name: Text = None
    last_name: Text = None
    company: Text = None
    phone: Text = None


class RemotePage(BaseModel):
    """A page; `next_cursor` is null on the last one."""

    items: Annotated[list[RemoteContact], Field(max_length=1000)]
    next_cursor: Opaque | None = None


class Remote:
    """One account, for one job at a time. Every method raises RemoteError."""

    def __init__(
        self, http: OutboundHttp, base_url: str, token: str, *, limiter: Limiter, breaker: Breaker
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._limiter = limiter
        self._breaker = breaker

    def page(self, *, cursor: str | None, since: datetime | None) -> RemotePage:
        """The page that the cursor stands for, or the first one of what has changed since."""
        query: dict[str, str] = {"limit": str(PAGE_ITEMS)}
        if cursor is not None:
            query["cursor"] = cursor
        elif since is not None:
            query["updated_since"] = since.astimezone(UTC).isoformat()
        answer = self._ask("GET", f"/contacts?{urlencode(query)}")
        if answer.status == 403:  # noqa: PLR2004 - the status, here and below
            raise Unauthorized(_NOT_LET_IN.format(status=403))
        if answer.status == 410:  # noqa: PLR2004
            raise CursorExpired("The cursor has expired.")
        return _read(RemotePage, self._expect(answer))

    def get(self, remote_id: str) -> RemoteContact:
        """One contact as it stands."""
        return _read(RemoteContact, self._one(self._ask("GET", _path(remote_id))))

    def create(self, fields: Mapping[str, str | None], *, key: str) -> RemoteContact:
        """A new contact; the same again for the same key."""
        answer = self._ask("POST", "/contacts", fields, {"idempotency-key": key})
        if answer.status == 409:  # noqa: PLR2004
            raise AlreadyThere("Another contact has this e-mail address.", _existing(answer))
        return _read(RemoteContact, self._expect(answer))

    def change(
        self, remote_id: str, fields: Mapping[str, str | None], *, version: str, key: str
    ) -> RemoteContact:
        """The contact with those fields changed, if it still is at that version."""
        headers = {"idempotency-key": key, "if-match": f'"{version}"'}
        answer = self._ask("PATCH", _path(remote_id), fields, headers)
        if answer.status == 409:  # noqa: PLR2004
            raise AlreadyThere("Another contact has this e-mail address.", _existing(answer))
        return _read(RemoteContact, self._one(answer))

    def delete(self, remote_id: str, *, version: str, key: str) -> None:
        """Delete it, if it still is at that version."""
        headers = {"idempotency-key": key, "if-match": f'"{version}"'}
        self._one(self._ask("DELETE", _path(remote_id), headers=headers))

    def close(self) -> None:
        """Give back what was reserved of the rate."""
        self._limiter.close()

    def _ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, when the limit and the circuit let it; any answer below 500 but 429 is one."""
        try:
            with self._breaker.passing(RemoteFailure):
                return self._classified(self._send(method, path, fields, headers or {}))
        except RateLimited as limited:
            raise Later("The rate limit is reached.", limited.retry_after) from limited
        except CircuitOpen as left_alone:
            why = "The server has failed several times and is left alone for a while."
            raise Later(why, left_alone.retry_after) from left_alone

    def _send(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str | None] | None,
        headers: Mapping[str, str],
    ) -> Answer:
        every = {
            "authorization": f"Bearer {self._token}",
            "accept": "application/json",
            **({} if fields is None else {"content-type": "application/json"}),
        }
        # Sorted, so that a change which is sent again is the same to the byte.
        content = None if fields is None else json.dumps(fields, sort_keys=True).encode()
        try:
            with self._limiter.slot(max_wait=MAX_WAIT_SECONDS):
                return self._http.send(
                    method,
                    self._base_url + path,
                    headers={**every, **headers},
                    content=content,
                    seconds=TIMEOUT_SECONDS,
                    max_bytes=MAX_ANSWER_BYTES,
                )
        except OutboundError as failed:
            raise RemoteFailure(str(failed)) from failed

    def _classified(self, answer: Answer) -> Answer:
        """What the server says about itself, and not about the request."""
        pause = retry_after(answer.headers, most=MAX_RETRY_AFTER_SECONDS)
        if answer.status == 429 or (answer.status == 503 and pause):  # noqa: PLR2004
            self._limiter.hold_off(pause or 1.0)
            if answer.status == 429:  # noqa: PLR2004
                raise Later("The server asks us to wait.", pause or 1.0)
        if answer.status >= 500:  # noqa: PLR2004
            raise RemoteFailure(f"The server answered {answer.status}.")
        return answer

    def _one(self, answer: Answer) -> Answer:
        if answer.status in {404, 410}:
            raise RemoteGone("There is no such contact.")
        if answer.status == 412:  # noqa: PLR2004
            raise VersionMismatch("The contact has changed meanwhile.")
        return self._expect(answer)

    def _expect(self, answer: Answer) -> Answer:
        if answer.status == 401:  # noqa: PLR2004
            raise Unauthorized(_NOT_LET_IN.format(status=401))
        if answer.status not in _OK:
            raise Refused(f"The server answered {answer.status}.")
        return answer


def _path(remote_id: str) -> str:
    return f"/contacts/{quote(remote_id, safe='')}"


def _read(shape: type[Shape], answer: Answer) -> Shape:
    """Raises RemoteFailure for what is no JSON (a proxy's page, half a body), Refused for another shape."""
    try:
        facts = json.loads(answer.body)
    except ValueError:
        raise RemoteFailure("The answer is no JSON.") from None
    try:
        return shape.model_validate(facts)
    except ValidationError as bad:
        where = ", ".join(".".join(map(str, each["loc"])) for each in bad.errors()[:3])
        raise Refused(f"The answer is not in the agreed shape: {where}.") from None


def _existing(answer: Answer) -> str | None:
    try:
        found = json.loads(answer.body).get("id")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and 0 < len(found) <= 255 else None  # noqa: PLR2004
