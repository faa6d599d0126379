"""Secrets of customers at rest: sealed before they reach the database, opened where they are used.

A backup or a leaked table shows nothing of them without `MILLRACE_SEALING_KEYS`. A sealed secret is bound to
its owner: put into another's row it can't be opened.
"""

import base64
import hashlib
import hmac
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import Unavailable
from app.settings import Settings

MIN_KEY_CHARS = 32


class CannotSeal(Unavailable):
    """The operator has set no key, or one that is too short."""

    code = "no_sealing_key"


class CannotOpen(Unavailable):
    """None of the keys opens it: the key is gone, or the secret is another owner's."""

    code = "unknown_sealing_key"


def seal(secret: str, settings: Settings, *, owner: UUID) -> bytes:
    """The secret, for the database. Raises CannotSeal."""
    return _box(settings, owner).encrypt(secret.encode())


def unseal(sealed: bytes, settings: Settings, *, owner: UUID) -> str:
    """The opposite, for the same owner, with any of the keys. Raises CannotSeal and CannotOpen."""
    try:
        return _box(settings, owner).decrypt(sealed).decode()
    except InvalidToken:
        raise CannotOpen(
            "None of MILLRACE_SEALING_KEYS opens this secret. Put the old key back behind the new one, or "
            "set the secret again."
        ) from None


def is_newest(sealed: bytes, settings: Settings, *, owner: UUID) -> bool:
    """Whether the first of the keys opens it. Raises CannotSeal."""
    first = settings.model_copy(update={"sealing_keys": settings.sealing_keys[:1]})
    try:
        _box(first, owner).decrypt(sealed)
    except InvalidToken:
        return False
    return True


def _box(settings: Settings, owner: UUID) -> MultiFernet:
    keys = [key.get_secret_value() for key in settings.sealing_keys]
    if not keys or any(len(key) < MIN_KEY_CHARS for key in keys):
        raise CannotSeal(
            "This server can't keep secrets. The operator must set MILLRACE_SEALING_KEYS: at least "
            f"{MIN_KEY_CHARS} random characters."
        )
    return MultiFernet([Fernet(_key_of(key, owner)) for key in keys])


def _key_of(key: str, owner: UUID) -> bytes:
    """The owner's own key. The operator's is random and long, so one round is enough."""
    derived = hmac.digest(key.encode(), b"millrace sealing " + owner.bytes, hashlib.sha256)
    return base64.urlsafe_b64encode(derived)
