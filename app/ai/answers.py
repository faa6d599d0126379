"""Answers of the protocol, read with suspicion."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.ai.failures import InvalidAnswer, WrongDimensions
from app.ai.provider import Completed, Embedded
from app.ai.tokens import estimate_tokens

Shape = TypeVar("Shape", bound=BaseModel)

MAX_TOKENS = 10_000_000
"""More than any request has: a count beyond it would wreck the books."""


class _Usage(BaseModel):
    prompt_tokens: int = -1
    completion_tokens: int = -1


class _Item(BaseModel):
    index: int
    embedding: list[float]


class _Embeddings(BaseModel):
    data: list[_Item]
    usage: _Usage | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


def read_embeddings(answer: Any, texts: Sequence[str], dimensions: int | None) -> Embedded:
    """One vector per text, all of one size. Raises InvalidAnswer."""
    read = _read(_Embeddings, answer)
    by_index = {item.index: item.embedding for item in read.data}
    if len(read.data) != len(texts) or set(by_index) != set(range(len(texts))):
        raise InvalidAnswer(
            f"The AI provider sent {len(read.data)} embeddings for {len(texts)} texts."
        )
    sizes = {len(vector) for vector in by_index.values()}
    if len(sizes) != 1 or (dimensions is not None and sizes != {dimensions}):
        raise WrongDimensions(
            f"The AI provider sent embeddings of {sorted(sizes)} dimensions"
            + ("." if dimensions is None else f" where {dimensions} were asked for.")
            + " Look at MILLRACE_AI_EMBEDDING_DIMENSIONS."
        )
    vectors = [_unit(by_index[index]) for index in range(len(texts))]
    return Embedded(vectors, _count(read.usage, "prompt_tokens", texts))


def read_completion(answer: Any, messages: Sequence[dict[str, str]]) -> Completed:
    """The first choice's text. Raises InvalidAnswer."""
    read = _read(_Completion, answer)
    if not read.choices:
        raise InvalidAnswer("The AI provider sent no answer.")
    text = read.choices[0].message.content or ""
    asked = [message["content"] for message in messages]
    return Completed(
        text,
        _count(read.usage, "prompt_tokens", asked),
        _count(read.usage, "completion_tokens", [text]),
    )


def _read(shape: type[Shape], answer: Any) -> Shape:
    try:
        return shape.model_validate(answer)
    except ValidationError as bad:
        fields = ", ".join(".".join(map(str, e["loc"])) or "all" for e in bad.errors()[:3])
        raise InvalidAnswer(f"The AI provider's answer has another shape: {fields}.") from None


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(number * number for number in vector))
    if not math.isfinite(length) or length == 0:
        raise InvalidAnswer("The AI provider sent an embedding that has no direction.")
    return [number / length for number in vector]


def _count(usage: _Usage | None, name: str, texts: Sequence[str]) -> int:
    """As the provider says, or else our estimate."""
    counted = -1 if usage is None else int(getattr(usage, name))
    return counted if 0 <= counted <= MAX_TOKENS else sum(map(estimate_tokens, texts))
