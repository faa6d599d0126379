"""What an answer that isn't 200 means, and which setting is at fault where one is."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from app.ai.failures import AiFailure, InputTooLong, ProviderAway, ProviderRefused
from app.ledger.job_error import printable
from app.outbound.retry_after import retry_after

MAX_QUOTED_CHARS = 300
MAX_AFTER_SECONDS = 86_400.0

_TOO_LONG = re.compile(
    r"context.length|maximum.*tokens|too many tokens|too long|input length", re.IGNORECASE
)
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}


def failure_of(status: int, headers: Mapping[str, str], content: bytes) -> AiFailure:
    """The failure that the answer stands for."""
    code, said = _error_of(content)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        # What it says may quote the key.
        return ProviderRefused(
            f"The AI provider refuses the key ({status}). Set MILLRACE_AI_API_KEY to one that is in "
            "force for MILLRACE_AI_BASE_URL, restart, and replay.",
            code="ai_unauthorized",
        )
    if status == HTTPStatus.NOT_FOUND:
        return ProviderRefused(
            "The AI provider doesn't know the address or the model (404). Look at "
            "MILLRACE_AI_BASE_URL, MILLRACE_AI_EMBEDDING_MODEL and MILLRACE_AI_CHAT_MODEL. "
            f"It said: {said}",
            code="ai_unknown_model",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _too_many(code, headers)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        return ProviderAway(
            f"The AI provider answered {status}.",
            after_seconds=retry_after(headers, most=MAX_AFTER_SECONDS) or 0.0,
            paid=False,
        )
    if code == "context_length_exceeded" or _TOO_LONG.search(said):
        return InputTooLong(f"The AI provider finds the text too long. It said: {said}")
    return ProviderRefused(f"The AI provider refuses the request ({status}). It said: {said}")


def _too_many(code: str, headers: Mapping[str, str]) -> AiFailure:
    if code == "insufficient_quota":
        return ProviderRefused(
            "The account at the AI provider has no money left. Top it up, then replay.",
            code="ai_quota",
        )
    return ProviderAway(
        "The AI provider is asked too often (429). MILLRACE_AI_REQUESTS_PER_MINUTE can be lowered.",
        code="ai_rate_limited",
        after_seconds=retry_after(headers, most=MAX_AFTER_SECONDS) or 0.0,
        paid=False,
    )


def _error_of(content: bytes) -> tuple[str, str]:
    """Code and message, as far as there are any."""
    try:
        error = json.loads(content)["error"]
        if isinstance(error, dict):
            return str(error.get("code") or ""), _quoted(str(error.get("message") or ""))
        return "", _quoted(str(error))
    except (ValueError, KeyError, TypeError):
        return "", _quoted(content[:MAX_QUOTED_CHARS].decode("utf-8", "replace"))


def _quoted(said: str) -> str:
    return printable(" ".join(said.split()))[:MAX_QUOTED_CHARS] or "(nothing)"
