"""The handlers' side of the payment provider."""

import http.client
import json
import os
from urllib.parse import urlsplit

PROVIDER_URL = "CHAOS_PROVIDER_URL"
TIMEOUT_SECONDS = 3.0


class ProviderFailed(Exception):
    """No answer, or one that says nothing about what was done."""


class ProviderBusy(Exception):
    """It asks to come back later; nothing was done."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds:.0f} s")
        self.seconds = seconds


def charge(key: str, number: int) -> dict[str, str]:
    """Charge, once per `key`; the receipt. Raises ProviderFailed, ProviderBusy."""
    host = urlsplit(os.environ[PROVIDER_URL]).netloc
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(
            "POST", "/charges", json.dumps({"number": number}), {"Idempotency-Key": key}
        )
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ProviderFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status == http.client.TOO_MANY_REQUESTS:
        raise ProviderBusy(float(answer.headers["Retry-After"]))
    if answer.status != http.client.OK:
        raise ProviderFailed(f"status {answer.status}")
    receipt: dict[str, str] = json.loads(body)
    return receipt
