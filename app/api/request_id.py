"""What a request is called in the audit log: by whoever stands in front of us, or by us."""

import re

from fastapi import Request

from app.ids import new_id_text

HEADER = "X-Request-ID"
_FIT = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id(request: Request) -> str:
    """The proxy's `X-Request-ID` if it is of use, a fresh id otherwise."""
    sent = request.headers.get(HEADER, "")
    return sent if _FIT.fullmatch(sent) else new_id_text()
