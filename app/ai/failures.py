"""What may go wrong with a language model.

AiFailure                   503
├── NotConfigured           503  neither an endpoint nor the local model
├── ProviderRefused         503  trying again can't help: key, model, quota, a request that it won't take
│   └── WrongDimensions     503  its vectors can't be compared with those that we have
├── ProviderAway            503  trying again may help: busy, slow, broken, out of reach
├── InvalidAnswer           503  it answered, but not with what was asked for
├── InputTooLong            503  for the model; other inputs are not at fault
├── Paced                   503  our own limit of requests per minute
└── Contended               503  another job is paying for the same text just now
BudgetExhausted             429  the tenant's budget for the month is spent
"""

from app.errors import TooManyRequests, Unavailable


class AiFailure(Unavailable):
    """Root of the tree. `maybe_paid` says that nobody knows whether the provider has counted it."""

    code = "ai_failed"
    maybe_paid = False


class NotConfigured(AiFailure):
    """There is no model to ask."""

    code = "ai_not_configured"


class ProviderRefused(AiFailure):
    """The provider will not do it, however often it is asked."""

    code = "ai_refused"


class WrongDimensions(ProviderRefused):
    """Vectors of another size than was asked for, or than the model's others have."""

    code = "ai_wrong_dimensions"
    maybe_paid = True


class ProviderAway(AiFailure):
    """Not now; `after_seconds` is what the provider asked us to wait."""

    code = "ai_unavailable"

    def __init__(
        self, message: str, *, code: str | None = None, after_seconds: float = 0.0, paid: bool
    ) -> None:
        super().__init__(message, code=code)
        self.after_seconds = after_seconds
        self.maybe_paid = paid


class InvalidAnswer(AiFailure):
    """An answer that isn't what the protocol promises. It may be paid for all the same."""

    code = "ai_broken_answer"
    maybe_paid = True


class Unlabelled(AiFailure):
    """None of the labels, also when asked again. Both answers are paid for."""

    code = "ai_invalid_answer"


class InputTooLong(AiFailure):
    """More than the model takes."""

    code = "ai_input_too_long"


class Paced(AiFailure):
    """All requests of this minute are made; the next is free in `seconds`."""

    code = "ai_paced"

    def __init__(self, seconds: float) -> None:
        super().__init__("Too many requests to the AI provider. Try again in a moment.")
        self.seconds = seconds


class Contended(AiFailure):
    """Another job has asked for the same thing, and its answer will do."""

    code = "ai_contended"


class BudgetExhausted(TooManyRequests):
    """The next request might cost more than is left; `retry_after` is the end of the month."""

    code = "budget_exhausted"
