"""Recipients' addresses: checked, with their domain as mail servers take it."""

from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email


class BadAddress(ValueError):
    """No server could take it; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local` may hold letters beyond ASCII, which takes a server with SMTPUTF8; `domain` never does."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether plain SMTP can't carry it."""
        return not self.local.isascii()

    @property
    def key(self) -> str:
        """What makes two addresses the same one."""
        return str(self).lower()


def parse_address(text: str) -> Address:
    """The address alone, without a name. Raises BadAddress; asks no DNS server."""
    try:
        found = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as bad:
        raise BadAddress(f"{text!r} is no e-mail address: {bad}") from None
    return Address(found.local_part, found.ascii_domain)
