"""E-mail addresses, checked by the email-validator library, at a million a few seconds.

The library takes about 30 microseconds an address, most of them for the domain. Here a domain is
checked by the library once and remembered, and a local part of plain characters is matched by RFC 5322's
dot-atom; whatever is not plain goes to the library whole. A property test holds both ways equal.
"""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

MAX_ADDRESS_CHARS = 254
MAX_LOCAL_CHARS = 64
_ATEXT = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")


class InvalidEmail(ValueError):
    """Not an address; the message says why, for a person."""


def email_key(text: str) -> str:
    """What makes two addresses the same one: the normalised address in lower case.

    For text that is no address, the text itself, so that equal texts still have equal keys.
    """
    plain = text.strip().lower()
    if plain.isascii() and "xn--" not in plain:
        return plain
    try:
        return check_email(text)
    except InvalidEmail:
        return plain


def check_email(text: str) -> str:
    """The address, normalised and in lower case. Raises InvalidEmail. Asks no DNS server."""
    plain = text.strip().lower()
    local, _, domain = plain.rpartition("@")
    if (
        plain.isascii()
        and len(plain) <= MAX_ADDRESS_CHARS
        and len(local) <= MAX_LOCAL_CHARS
        and _DOT_ATOM.fullmatch(local)
        and _is_plain_domain(domain)
    ):
        return plain
    try:
        return validate_email(plain, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise InvalidEmail(str(error)) from None


@lru_cache(maxsize=65_536)
def _is_plain_domain(domain: str) -> bool:
    """Whether the library takes the domain and leaves it as it is."""
    try:
        return validate_email(f"a@{domain}", check_deliverability=False).domain == domain
    except EmailNotValidError:
        return False
