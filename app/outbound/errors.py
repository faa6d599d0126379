"""What may go wrong on the way to somebody else's server.

    OutboundError
    ├── InvalidUrl          it can't be called at all
    ├── AddressRefused      it is called for, but not by us: private, local, reserved
    ├── NameUnknown         the name has no address (now)
    ├── ConnectionFailed    refused, broken off, no valid certificate, no HTTP
    ├── TimedOut            no whole answer in time
    └── AnswerTooLarge      an answer over the limit

The messages may be shown to the customer who named the address. `permanent` says that trying again soon
can't help.
"""

from typing import ClassVar


class OutboundError(Exception):
    """Root of the tree; `code` is stable."""

    code: ClassVar[str] = "outbound"
    permanent: ClassVar[bool] = False


class InvalidUrl(OutboundError):
    """No absolute http(s) URL, or one that carries a user or a password."""

    code = "invalid_url"
    permanent = True


class AddressRefused(OutboundError):
    """No address of the host is open to us."""

    code = "address_refused"


class NameUnknown(OutboundError):
    """The name doesn't resolve."""

    code = "name_unknown"


class ConnectionFailed(OutboundError):
    """No connection, no valid certificate, no HTTP, or it broke."""

    code = "connection_failed"


class TimedOut(OutboundError):
    """The whole exchange has one limit, and it was not over by then."""

    code = "timed_out"


class AnswerTooLarge(OutboundError):
    """The body is longer than the caller takes."""

    code = "answer_too_large"
