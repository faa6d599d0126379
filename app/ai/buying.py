"""Asking a model, paid from the tenant's budget, for what nobody in the tenant has asked it before."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.ai import budget, results
from app.ai.batching import pack
from app.ai.budget import Use
from app.ai.failures import AiFailure, Contended, InputTooLong, Paced, ProviderAway
from app.ai.provider import Embedded, Provider
from app.ai.tokens import estimate_tokens
from app.ids import SYSTEM_TENANT
from app.outbound.limiter import Limiter, Rate, RateLimited
from app.settings import Settings

Answer = TypeVar("Answer")

LIMIT_SCOPE = "ai"
MAX_PER_WINDOW = 500
"""More requests than the limiter counts in one window have a shorter window."""
TURN_SECONDS = 2.0
"""How long a request waits for its turn before its job steps back."""
CLAIM_SECONDS = 30.0
"""Beyond the time-out: until a claim whose process died is up for grabs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """Who asks and what for. All that is written here is in short transactions of its own, whatever becomes
    of the caller: money that was spent is spent. `check()` is called before each request, and may raise.
    """

    tenant_id: UUID
    owner: UUID
    purpose: str
    settings: Settings
    provider: Provider
    engine: Engine
    check: Callable[[], None] = lambda: None

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that commits with its block."""
        return self.engine.begin()

    def limiter(self) -> Limiter:
        """Of the provider, which counts all tenants together."""
        per_minute = self.settings.ai_requests_per_minute
        rate = Rate(
            limit=min(per_minute, MAX_PER_WINDOW),
            window_seconds=60.0 * min(1.0, MAX_PER_WINDOW / per_minute),
            timeout_seconds=self.settings.ai_timeout,
        )
        return Limiter(self.engine, SYSTEM_TENANT, LIMIT_SCOPE, rate)

    def claim(self, hashes: Sequence[bytes]) -> set[bytes]:
        """See results.claim."""
        seconds = self.settings.ai_timeout + CLAIM_SECONDS
        with self.write() as tx:
            return results.claim(tx, self.tenant_id, self.owner, hashes, seconds=seconds)

    def release(self, hashes: Sequence[bytes]) -> None:
        """See results.release."""
        with self.write() as tx:
            results.release(tx, self.tenant_id, self.owner, hashes)

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """See results.known."""
        with self.write() as tx:
            return results.known(tx, self.tenant_id, hashes)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors (see results.unpacked) by hash, and the hashes of texts that the model finds too long."""

    vectors: dict[bytes, bytes] = field(default_factory=dict)
    too_long: set[bytes] = field(default_factory=set)


def embed(buyer: Buyer, texts: Mapping[bytes, str]) -> Embeddings:
    """The vectors of the texts, from what is known and else from the provider, request by request; what a
    request brought is kept before the next one is made.

    Raises AiFailure: Contended when all that is left is being asked for by others, and BudgetExhausted.
    """
    found = Embeddings(buyer.known(list(texts)))
    missing = [each for each in texts if each not in found.vectors]
    most = buyer.provider.input_max_tokens
    sizes = [min(estimate_tokens(texts[each]), most) for each in missing]
    for run in pack(
        sizes,
        max_tokens=max(buyer.settings.ai_request_max_tokens, most),
        max_inputs=buyer.settings.ai_request_max_inputs,
    ):
        _buy(buyer, {missing[at]: texts[missing[at]] for at in run}, found)
    others = [each for each in missing if each not in found.vectors | dict.fromkeys(found.too_long)]
    found.vectors.update(buyer.known(others))
    if any(each not in found.vectors for each in others):
        raise Contended("Another job is asking for the same texts. Its answers will do.")
    return found


def _buy(buyer: Buyer, texts: Mapping[bytes, str], found: Embeddings) -> None:
    """One request for those of the texts that nobody else is asking for; more if it is too long."""
    buyer.check()
    mine = buyer.claim(list(texts))
    wanted = [each for each in texts if each in mine]
    if not wanted:
        return
    try:
        found.vectors.update(_ask(buyer, wanted, [texts[each] for each in wanted]))
    except InputTooLong:
        buyer.release(wanted)
        if len(wanted) == 1:
            found.too_long.update(wanted)
            return
        for half in (wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]):
            _buy(buyer, {each: texts[each] for each in half}, found)
    except Exception:
        buyer.release(wanted)
        raise


def _ask(buyer: Buyer, hashes: Sequence[bytes], texts: Sequence[str]) -> dict[bytes, bytes]:
    price = buyer.provider.prices.embedding

    def use(tokens: int) -> Use:
        return Use(input_tokens=tokens, cost=price * tokens)

    def call() -> tuple[Embedded, Use]:
        answer = buyer.provider.embed(texts)
        return answer, use(answer.tokens)

    def bought(answer: Embedded) -> dict[bytes, bytes]:
        return dict(zip(hashes, map(results.packed, answer.vectors), strict=True))

    def keep(tx: Connection, answer: Embedded) -> None:
        results.keep(tx, buyer.tenant_id, bought(answer))

    estimate = use(sum(map(estimate_tokens, texts)))
    return bought(spend(buyer, buyer.provider.space, estimate, call, keep))


def spend(
    buyer: Buyer,
    model: str,
    estimate: Use,
    call: Callable[[], tuple[Answer, Use]],
    keep: Callable[[Connection, Answer], None],
) -> Answer:
    """One request within pace and budget. What it took, and what `keep` writes, commit together.

    Raises Paced and BudgetExhausted, with nothing asked and nothing booked, and the call's AiFailure.
    """
    with buyer.write() as tx:
        booking = budget.book(
            tx,
            buyer.tenant_id,
            estimate,
            purpose=buyer.purpose,
            model=model,
            default_budget=buyer.settings.ai_monthly_budget,
        )
    try:
        answer, used = _in_turn(buyer, call)
    except AiFailure as failure:
        if not failure.maybe_paid:
            with buyer.write() as tx:
                budget.take_back(tx, booking)
        raise
    with buyer.write() as tx:
        keep(tx, answer)
        budget.settle(tx, booking, used)
    return answer


def _in_turn(buyer: Buyer, call: Callable[[], Answer]) -> Answer:
    """The call, when it is its turn. The local model has no queue."""
    if buyer.settings.ai_base_url is None:
        return call()
    failure: AiFailure | None = None
    with closing(buyer.limiter()) as limiter:
        try:
            with limiter.slot(max_wait=TURN_SECONDS):
                try:
                    return call()
                except AiFailure as failed:
                    failure = failed  # the exchange is over, and counts as one that was answered
        except RateLimited as limited:
            raise Paced(limited.retry_after) from None
        if isinstance(failure, ProviderAway) and failure.after_seconds:
            limiter.hold_off(failure.after_seconds)
    raise failure
