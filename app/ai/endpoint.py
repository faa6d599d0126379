"""An endpoint that speaks OpenAI's protocol: OpenAI, Azure, Mistral, vLLM, Ollama and many more."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from app.ai.answers import read_completion, read_embeddings
from app.ai.failures import InvalidAnswer, ProviderAway
from app.ai.provider import Completed, Embedded, Prices, prices_of
from app.ai.refusals import failure_of
from app.settings import Settings
from app.traces.outgoing import told, traced

MAX_ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_SECONDS = 5.0


@contextmanager
def endpoint(settings: Settings) -> Iterator["Endpoint"]:
    """The configured endpoint, with connections that are kept until the block ends."""
    key = settings.ai_api_key
    with httpx.Client(
        base_url=str(settings.ai_base_url).rstrip("/") + "/",
        headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
        timeout=httpx.Timeout(settings.ai_timeout, connect=CONNECT_SECONDS),
    ) as client:
        yield Endpoint(client, settings)


class Endpoint:
    """See Provider. A request is made once: trying again is the job's business."""

    def __init__(self, client: httpx.Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    @property
    def space(self) -> str:
        """See Provider."""
        dimensions = self._settings.ai_embedding_dimensions
        model = self._settings.ai_embedding_model
        return model if dimensions is None else f"{model}@{dimensions}"

    @property
    def chat_model(self) -> str:
        """See Provider."""
        return self._settings.ai_chat_model

    @property
    def prices(self) -> Prices:
        """See Provider."""
        return prices_of(self._settings)

    @property
    def input_max_tokens(self) -> int:
        """See Provider."""
        return min(self._settings.ai_input_max_tokens, self._settings.ai_request_max_tokens)

    def embed(self, texts: Sequence[str]) -> Embedded:
        """See Provider."""
        dimensions = self._settings.ai_embedding_dimensions
        body: dict[str, Any] = {
            "model": self._settings.ai_embedding_model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if dimensions is not None:
            body["dimensions"] = dimensions
        return read_embeddings(self._post("embeddings", body), texts, dimensions)

    def complete(
        self, messages: Sequence[dict[str, str]], schema: dict[str, Any], *, max_tokens: int
    ) -> Completed:
        """See Provider."""
        body = {
            "model": self._settings.ai_chat_model,
            "messages": list(messages),
            "max_completion_tokens": max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        return read_completion(self._post("chat/completions", body), messages)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON. Raises AiFailure."""
        try:
            more: dict[str, str] = {}
            with (
                traced("POST", self._client.base_url, more) as span,
                self._client.stream("POST", path, json=body, headers=more) as response,
            ):
                told(span, response.status_code)
                content = self._read(response)
                status, headers = response.status_code, response.headers
        except (httpx.ConnectError, httpx.ConnectTimeout) as away:
            raise ProviderAway(
                "The AI provider can't be reached. If that stays so, look at MILLRACE_AI_BASE_URL.",
                code="ai_unreachable",
                paid=False,
            ) from away
        except httpx.TimeoutException as slow:
            raise self._too_slow() from slow
        except httpx.TransportError as broken:
            raise ProviderAway(
                f"The AI provider's answer broke off ({type(broken).__name__}).", paid=True
            ) from broken
        if status != httpx.codes.OK:
            raise failure_of(status, headers, content)
        try:
            return json.loads(content)
        except ValueError as bad:
            raise InvalidAnswer("The AI provider's answer is no JSON.") from bad

    def _read(self, response: httpx.Response) -> bytes:
        """The body, if it isn't endless, neither in bytes nor in time."""
        deadline = time.monotonic() + self._settings.ai_timeout
        blocks: list[bytes] = []
        size = 0
        for block in response.iter_bytes():
            size += len(block)
            if size > MAX_ANSWER_BYTES:
                raise InvalidAnswer(f"The AI provider's answer is over {MAX_ANSWER_BYTES} bytes.")
            if time.monotonic() > deadline:
                raise self._too_slow()
            blocks.append(block)
        return b"".join(blocks)

    def _too_slow(self) -> ProviderAway:
        return ProviderAway(
            f"The AI provider didn't answer within {self._settings.ai_timeout:g} s "
            "(MILLRACE_AI_TIMEOUT).",
            code="ai_timeout",
            paid=True,
        )
