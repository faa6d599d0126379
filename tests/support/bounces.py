"""Reports as mail servers send them about mails that came back."""

from email.message import EmailMessage


def bounce(
    message_id: str,
    recipient: str,
    *,
    action: str = "failed",
    status: str = "5.1.1",
    answer: str = "smtp; 550 5.1.1 <x>: Recipient address\n rejected: User unknown",
    original: str | None = None,
    headers_only: bool = False,
) -> bytes:
    """Of one recipient, with the mail that it is about, or its headers alone."""
    first = f"Original-Recipient: rfc822;{original}\n" if original else ""
    fields = (
        f"{first}Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\n"
        f"Remote-MTA: dns; mx.example.net\nDiagnostic-Code: {answer}\n"
    )
    mail = (
        f"From: Millrace <no-reply@millrace.example>\nMessage-ID: {message_id}\n"
        f"To: {recipient}\nSubject: Contacts\n"
    )
    kind = "text/rfc822-headers" if headers_only else "message/rfc822"
    enclosed = mail if headers_only else f"{mail}\nYour export is ready.\n"
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net (Mail Delivery System)\n"
        "To: no-reply@millrace.example\nSubject: Undelivered Mail Returned to Sender\n"
        "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status;\n boundary="cut/here"\n\n'
        "--cut/here\nContent-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n"
        "I'm sorry to have to inform you.\n\n"
        "--cut/here\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mx.example.net\nX-Postfix-Queue-ID: 4XyZ\n"
        "Arrival-Date: Fri, 27 Nov 2026 10:00:00 +0000 (UTC)\n\n"
        f"{fields}\n"
        f"--cut/here\nContent-Type: {kind}\n\n{enclosed}\n--cut/here--\n"
    ).encode()


def plain_mail() -> bytes:
    message = EmailMessage()
    message["Subject"] = "Out of office"
    message.set_content("I am back on Monday.")
    return message.as_bytes()
