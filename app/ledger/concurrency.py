"""Concurrency keys: which jobs of a tenant stand in each other's way, and how many of them may be at it at once.

The key is the tenant's: jobs of two kinds with one key wait for each other. See docs/one-at-a-time.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from app.ledger.job_error import printable

MAX_KEY_CHARS = 255
"""Longer keys, of a payload's long text say, are kept as their digest."""
MAX_CONCURRENCY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most `limit` jobs of a tenant with one key are with the broker or a worker at once.

    `key` is a field of the payload, and the key then `<kind>:<field>=<value>`; or a function of the job, and
    the key what that returns, word for word, for kinds that share it. None is no key: the job waits for none.

    `in_order`: strictly by creation (the database's clock), one at a time. None begins before all that were made
    earlier have ended, whatever these wait for: their time, another job, their next attempt.
    """

    key: str | Callable[[Any], str | None]
    limit: int = 1
    in_order: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_CONCURRENCY:
            raise ValueError(f"a concurrency limit is between 1 and {MAX_CONCURRENCY}: {self}")
        if self.in_order and self.limit != 1:
            raise ValueError(f"jobs that run in order run one at a time: {self}")

    def key_of(self, kind: str, job: object) -> str | None:
        """The key of that job, of that kind."""
        if callable(self.key):
            return self.key(job)
        value = getattr(job, self.key)
        return None if value is None else f"{kind}:{self.key}={value}"


def check_key(name: str, key: str) -> None:
    """Raise ValueError for a key that says nothing, or that PostgreSQL can't keep: no text has NUL or half a
    surrogate pair in it.
    """
    if not key or printable(key) != key:
        raise ValueError(f"a {name} is text that isn't empty, without NUL and surrogates: {key!r}")


def kept(key: str) -> str:
    """The key as the ledger keeps it."""
    if len(key) <= MAX_KEY_CHARS:
        return key
    return f"sha256:{sha256(key.encode()).hexdigest()}"
