"""Links that unsubscribe: signed, so that nobody can do it for others, and without anything to look up.

The key is the tenant's own random secret, which never leaves the database. A link works for as long as the
tenant is there: the mail in which it stands may be years old.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound
from app.mailing.letters import Topic
from app.mailing.rendering import public_link
from app.settings import Settings

PATH = "/mail/unsubscribe"
MAX_TOKEN_CHARS = 2000
_SECRET = text("SELECT mail_secret FROM tenants WHERE id = :tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Not to get mails of the topic at the address, from the tenant."""

    tenant_id: UUID
    topic: Topic
    address: str


def unsubscribe_url(wish: Wish, secret: str, settings: Settings) -> str:
    """The link for the mail's foot and its List-Unsubscribe header."""
    return public_link(settings, f"{PATH}?token={sign(wish, secret)}")


def sign(wish: Wish, secret: str) -> str:
    """The wish and its signature, in letters that a URL takes as they are."""
    facts = [str(wish.tenant_id), wish.topic.value, wish.address]
    body = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
    return f"{_text(body)}.{_text(_mac(body, secret))}"


def read_token(tx: Connection, token: str) -> Wish:
    """The wish, if it is one that we signed. Raises NotFound, whatever is wrong with it."""
    try:
        body, _, signature = token.partition(".")
        raw, given = _bytes(body), _bytes(signature)
        tenant_id, topic, address = json.loads(raw)
        wish = Wish(tenant_id=UUID(tenant_id), topic=Topic(topic), address=str(address))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _unknown() from None
    secret = tx.execute(_SECRET, {"tenant_id": wish.tenant_id}).scalar_one_or_none()
    if secret is None or not hmac.compare_digest(_mac(raw, secret.hex), given):
        raise _unknown()
    return wish


def _mac(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"unsubscribe\0" + body, hashlib.sha256)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(letters: str) -> bytes:
    """Raises ValueError."""
    if len(letters) > MAX_TOKEN_CHARS or not letters.isascii():
        raise ValueError("no token")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), altchars=b"-_", validate=True)
    except binascii.Error as bad:
        raise ValueError("no token") from bad


def _unknown() -> NotFound:
    return NotFound("The link is not one of ours. Copy all of it, or write to us instead.")
