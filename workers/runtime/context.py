"""What a handler gets to work with."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.db import end
from app.errors import LostLease
from app.ledger import effects, locks, store
from app.ledger.store import Claimed
from app.mailing.smtp import Mailer
from app.metrics.declared import Metric
from app.settings import Settings
from app.storage import Storage
from workers.runtime import metering
from workers.runtime.outcome import PermanentError
from workers.runtime.store_watch import StoreWatch
from workers.runtime.transaction import JobTransaction

ItemT = TypeVar("ItemT")

CHECK_SECONDS = 1.0
"""How often, at most, `check` asks the database."""


class Context:
    """One attempt of one job: its tenant, its database transaction, the object store, the mail server.

    There is one transaction. It begins with the first `transaction()`, and the runtime commits it
    together with the job's new state: a handler's effects are there if and only if its attempt counted.
    A `checkpoint` commits earlier, together with where the next attempt goes on.
    """

    def __init__(
        self,
        job: Claimed,
        *,
        engine: Engine,
        store: StoreWatch,
        mailer: Mailer,
        settings: Settings,
        brief: bool = False,
        connection: Connection | None = None,
    ) -> None:
        self.job = job
        self._store = store
        self.mailer = mailer
        self.settings = settings
        self._engine = engine
        self._brief = brief
        self._connection = connection
        self._lost = False
        self._checked = time.monotonic()
        self._counts: list[tuple[Metric, Mapping[str, float]]] = []
        self.saved = job.checkpoint
        """What the last checkpoint kept, in this attempt or an earlier one; None before the first."""

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the job belongs to; every query names it."""
        return self.job.tenant_id

    @property
    def storage(self) -> Storage:
        """The object store. Raises StoreAway where this process has found it away: let it pass, and the job is put off
        at the cost of no attempt, as with whatever else says that it is away.
        """
        return self._store.use()

    @property
    def engine(self) -> Engine:
        """For parts that keep short transactions of their own, beside the job's: what they write stays,
        whatever becomes of this attempt.
        """
        return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The job's transaction. Leaving the block doesn't commit; only the runtime does, and a handler that commits is dead
        with the code `own_commit`. It may roll back what it wrote.
        """
        self.check()
        yield self._open()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short transaction for reading before the work; it ends with the block and keeps nothing."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def checkpoint(self, saved: dict[str, Any]) -> Iterator[Connection]:
        """Commit the block's rows together with `saved`, which later attempts find in `ctx.saved`.

        For long jobs: what is committed is not done again. Raises LostLease, and then nothing of the
        block is kept.
        """
        self._not_if_brief("checkpoint")
        with self.transaction() as tx:
            yield tx
            store.save_checkpoint(tx, self.job, saved)
            end(tx)
        self.saved = saved

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """A short transaction beside the job's own, for what others shall see before the job ends. It
        commits with the block, whatever becomes of this attempt. Raises LostLease.
        """
        self._not_if_brief("aside")
        self.check()
        with self._alone() as tx:
            yield tx

    def progress(self, tx: Connection, *, done: int, total: int | None = None) -> None:
        """Record how far the job is, in its own transaction. Raises LostLease."""
        self._not_if_brief("progress")
        store.progress(tx, self.job, done=done, total=total)

    def count(self, metric: Metric, amounts: Mapping[str, float]) -> None:
        """Add to a metric with one label, if and when this attempt's transaction is committed."""
        self._counts.append((metric, amounts))

    def once(self, name: str, call: Callable[[str], Any], *, repeatable: bool = True) -> Any:
        """Have an effect outside the database, once in the job's life: over retries, kills and replays.

        `call(key)` acts and returns what JSON can hold, and every attempt gets it as JSON gives it
        back; of anything else the job is dead, with the code `effect_result`. A result that is known
        is returned without calling. If an earlier attempt died between acting and saying so, the call is made again with
        the same `key`: it acts once where the other side honours idempotency keys, and at least once
        where not. With `repeatable=False` it acts at most once: then the job is dead instead, with the
        code `effect_uncertain`, and whoever replays it says that it may act.
        """
        self._not_if_brief("once")
        self.check()
        with self._alone() as tx:
            begun = effects.begin_effect(tx, self.job, name)
        if begun.done:
            return begun.result
        if not begun.first and not repeatable:
            raise PermanentError(
                f"An earlier attempt began {name!r} and nobody knows whether it happened. Find out, "
                "then replay the job to do it, or discard it.",
                code="effect_uncertain",
            )
        answer = call(effects.idempotency_key(self.job, name))
        try:
            result = effects.as_json(answer)
        except (TypeError, ValueError, RecursionError) as bad:
            raise PermanentError(
                f"{name!r} happened, but JSON can't hold what it returned: {bad}",
                code="effect_result",
            ) from bad
        with self._alone() as tx:
            effects.finish_effect(tx, self.job, name, result)
        return result

    def lock(self, name: str) -> int:
        """Hold the tenant's lock `name` until this attempt ends, however it ends.

        Returns the fencing token. Raises LockBusy when another job holds it: let it pass, and the
        runtime tries the job again in a moment, at the cost of no attempt. Take locks before writing.
        """
        self._not_if_brief("lock")
        self.check()
        with self._alone() as tx:
            return locks.acquire(tx, self.job, name, tenant_id=self.tenant_id)

    def check(self) -> None:
        """Raise LostLease when the job has been taken over or cancelled; call it between long steps.

        It asks the database once a second at most, and costs nothing in between.
        """
        asked_long_ago = time.monotonic() - self._checked >= CHECK_SECONDS
        if asked_long_ago and not self._lost and not self._brief:
            with self._alone() as tx:
                self._lost = not store.is_owned(tx, self.job)
            self._checked = time.monotonic()
        if self._lost:
            raise LostLease(f"job {self.job.id} is no longer attempt {self.job.attempt}'s")

    def checked(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """The items, with a `check` before each."""
        for item in items:
            self.check()
            yield item

    def lose(self) -> None:
        """The heartbeat's word that the lease is gone."""
        self._lost = True

    @contextmanager
    def settling(self) -> Iterator[Connection]:
        """For the runtime: the job's transaction, committed at the end of the block."""
        connection = self._open()
        yield connection
        end(connection)
        self.committed()

    def committed(self) -> None:
        """For the runtime: the transaction is, and what was counted counts."""
        for metric, amounts in self._counts:
            metering.count(metric, amounts)

    def close(self) -> None:
        """Roll back whatever isn't committed and give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _not_if_brief(self, what: str) -> None:
        if self._brief:
            raise PermanentError(
                f"A brief job has no ctx.{what}: take `brief=True` out of {self.job.kind}'s contract.",
                code="brief_job",
            )

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A short transaction beside the job's own, committed with the block."""
        with self._engine.begin() as connection:
            yield connection

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = JobTransaction(self._engine)
        if not self._connection.in_transaction():
            self._connection.begin()  # sends nothing; a handler's own `tx.begin()`, which would commit, fails
        return self._connection
