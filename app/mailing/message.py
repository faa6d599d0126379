"""One message to one recipient, as it goes over the wire.

One recipient a message: each has a job, an outcome and a Message-ID of its own, and a server can't take a
mail for some and refuse it for others.
"""

from dataclasses import dataclass
from email import policy
from email.headerregistry import Address as Header
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

from app.mailing.addresses import Address
from app.mailing.rendering import Rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the server is told, and the message's bytes."""

    sender: str
    recipient: str
    content: bytes
    smtputf8: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """From `MILLRACE_MAIL_FROM`."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What stands behind the @."""
        return self.address.rpartition("@")[2] or "localhost"


def sender_of(mail_from: str) -> Sender:
    """Of `Name <address>` or an address alone."""
    name, address = parseaddr(mail_from)
    return Sender(name=name, address=address)


def message_id(key: str, sender: Sender) -> str:
    """The same for the same key, so that a reader or server that sees a repeat can tell."""
    return f"<{key}@{sender.domain}>"


def headers_of(
    rendered: Rendered, sender: Sender, identity: str, unsubscribe_url: str | None
) -> dict[str, str]:
    """All but those of the body and the recipient. One-click (RFC 8058) is for https addresses alone."""
    headers = {
        "Subject": rendered.subject,
        "Date": formatdate(),
        "Message-ID": identity,
        "Auto-Submitted": "auto-generated",
        "From": str(Header(sender.name, addr_spec=sender.address)),
    }
    if unsubscribe_url is not None:
        headers["List-Unsubscribe"] = f"<{unsubscribe_url}>"
        if unsubscribe_url.startswith("https://"):
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def compose(
    rendered: Rendered,
    *,
    sender: Sender,
    to: Address,
    identity: str,
    unsubscribe_url: str | None = None,
) -> Envelope:
    """Text and HTML as alternatives, in 7 bits wherever the address allows it.

    Raises ValueError for a line break in a header's value, so that none can be smuggled in.
    """
    message = EmailMessage(policy=policy.SMTPUTF8 if to.needs_smtputf8 else policy.SMTP)
    for name, value in headers_of(rendered, sender, identity, unsubscribe_url).items():
        if name == "From":
            message[name] = Header(sender.name, addr_spec=sender.address)
        else:
            message[name] = value
    message["To"] = Header(username=to.local, domain=to.domain)
    message.set_content(rendered.text, cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return Envelope(
        sender=sender.address,
        recipient=str(to),
        content=message.as_bytes(),
        smtputf8=to.needs_smtputf8,
    )
