"""Whom we ask: an endpoint that speaks OpenAI's protocol, or the local model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from app.ai.failures import NotConfigured
from app.settings import Settings

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector of length 1 for each text, in order, and the tokens that were counted."""

    vectors: list[list[float]]
    tokens: int


@dataclass(frozen=True, slots=True)
class Completed:
    """What the model wrote, and the tokens that were counted."""

    text: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one token."""

    embedding: Decimal
    chat_input: Decimal
    chat_output: Decimal


class Provider(Protocol):
    """One model for embeddings and maybe one that writes. Calls raise AiFailure and nothing else."""

    @property
    def space(self) -> str:
        """The name of what the vectors are comparable within: the model, and its dimensions where asked for."""

    @property
    def chat_model(self) -> str:
        """The name of the model that writes."""

    @property
    def prices(self) -> Prices:
        """What it takes."""

    @property
    def input_max_tokens(self) -> int:
        """Of one text to embed."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """One request."""

    def complete(
        self, messages: Sequence[dict[str, str]], schema: dict[str, Any], *, max_tokens: int
    ) -> Completed:
        """One request, for an answer that fits the JSON schema; whether it does is for you to check."""


def is_configured(settings: Settings) -> bool:
    """Whether there is anyone to ask."""
    from app.ai.local_model import is_installed

    return settings.ai_base_url is not None or is_installed()


@contextmanager
def open_provider(settings: Settings) -> Iterator[Provider]:
    """The provider that the settings name. Raises NotConfigured."""
    from app.ai.endpoint import endpoint
    from app.ai.local_model import LocalModel, is_installed

    if settings.ai_base_url is not None:
        with endpoint(settings) as remote:
            yield remote
    elif is_installed():
        yield LocalModel()
    else:
        raise NotConfigured(
            "No AI provider is set up. Set MILLRACE_AI_BASE_URL (and MILLRACE_AI_API_KEY) to an "
            "OpenAI-compatible endpoint, or install the local model: see docs/ai.md."
        )


def prices_of(settings: Settings) -> Prices:
    """As the settings say."""
    return Prices(
        embedding=settings.ai_embedding_price / MILLION,
        chat_input=settings.ai_chat_input_price / MILLION,
        chat_output=settings.ai_chat_output_price / MILLION,
    )
