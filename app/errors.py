"""The error tree of the product: every error that a caller may see carries its HTTP status.

    MillraceError
    ├── InvalidRequest              400  the request itself is broken
    │   ├── Unauthenticated         401
    │   ├── Forbidden               403  a signed-in browser's request that isn't from our own page
    │   ├── NotFound                404
    │   ├── Conflict                409  not in the state that it is in
    │   │   └── HeldByOperator      409  paused by who runs the product
    │   ├── Gone                    410  it was here, and was kept for as long as promised
    │   ├── TooLarge                413
    │   ├── UnsupportedMediaType    415
    │   ├── Unprocessable           422  well-formed, but it can't be done as asked
    │   └── TooManyRequests         429  over a limit that more time will lift
    ├── Unavailable                 503  a part we depend on is away; try again later
    │   ├── Overloaded              503  too much is waiting already
    │   ├── ReadOnly                503  PostgreSQL takes no writes
    │   ├── BrokerAway              503  RabbitMQ is
    │   ├── StoreAway               503  the object store is
    │   ├── ScannerAway             503  the virus scanner is, or it gave no verdict
    │   └── OutcomeUnknown          503  the connection was lost in the middle of a commit
    ├── LostLease                   500  the job was taken over or cancelled while it ran (workers only)
    └── LockBusy                    500  another job holds the lock; try again soon (workers only)

`code` is stable and becomes the problem's `type`; the message is one sentence that says what to do.
"""

from typing import ClassVar


class MillraceError(Exception):
    """Root of the tree. `str(error)` is safe to show to the caller."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InvalidRequest(MillraceError):
    """The request can't be understood."""

    status = 400
    title = "Invalid request"
    code = "invalid_request"


class Unauthenticated(InvalidRequest):
    """No API key, or one that is unknown or revoked."""

    status = 401
    title = "Authentication needed"
    code = "unauthenticated"


class Forbidden(InvalidRequest):
    """Known who asks, but not that they meant to."""

    status = 403
    title = "Forbidden"
    code = "forbidden"


class NotFound(InvalidRequest):
    """No such thing in this tenant."""

    status = 404
    title = "Not found"
    code = "not_found"


class Conflict(InvalidRequest):
    """It can't be done in the state that the thing is in."""

    status = 409
    title = "Conflict"
    code = "conflict"


class HeldByOperator(Conflict):
    """It was paused by who runs the product, and only they let it go on. `what`: with its article."""

    code = "paused_by_operator"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"An operator of the service has paused {what}: {reason.rstrip('.')}. Only operators can let it go on;"
            " until then it can't be deleted, nor be made once more."
        )


class Gone(InvalidRequest):
    """It was there, and isn't kept any longer."""

    status = 410
    title = "Gone"
    code = "gone"


class TooLarge(InvalidRequest):
    """The body is over a limit."""

    status = 413
    title = "Too large"
    code = "too_large"


class UnsupportedMediaType(InvalidRequest):
    """A content type, or content, that this call doesn't take."""

    status = 415
    title = "Unsupported media type"
    code = "unsupported_media_type"


class Unprocessable(InvalidRequest):
    """Well-formed, but it can't be done as asked."""

    status = 422
    title = "Can't be processed"
    code = "unprocessable"


class TooManyRequests(InvalidRequest):
    """Over a limit that passes with time; `retry_after` is when it makes sense to ask again, in seconds."""

    status = 429
    title = "Too many requests"
    code = "too_many_requests"

    def __init__(self, message: str, *, code: str | None = None, retry_after: int = 10) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Unavailable(MillraceError):
    """A part we depend on is away."""

    status = 503
    title = "Temporarily unavailable"
    code = "unavailable"


class Overloaded(Unavailable):
    """All is well but for the amount: new work is refused for now; `retry_after` is in seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 30) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ReadOnly(Unavailable):
    """PostgreSQL answers, and takes no writes: a standby that isn't promoted (yet), or one that was set so."""

    def __init__(self) -> None:
        super().__init__("read-only: a standby that isn't promoted, or set so")


class BrokerAway(Unavailable):
    """RabbitMQ doesn't answer, closed the connection, or left confirms out for too long."""

    code = "broker_away"


class StoreAway(Unavailable):
    """The object store was found away a moment ago, and still is."""

    code = "store_away"


class ScannerAway(Unavailable):
    """clamd doesn't answer, or without a verdict; what was to be scanned must wait."""

    code = "scanner_away"


class OutcomeUnknown(Unavailable):
    """The commit may have happened or not; whatever it refers to must be kept."""

    code = "outcome_unknown"


class LostLease(MillraceError):
    """The attempt no longer owns its job; whatever it wrote must be rolled back."""

    code = "lost_lease"


class LockBusy(MillraceError):
    """Another attempt holds the named lock."""

    code = "lock_busy"
