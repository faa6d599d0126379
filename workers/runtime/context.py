"""What a handler gets to work with."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.errors import LostLease
from app.ledger import store
from app.ledger.store import Claimed
from app.settings import Settings
from app.storage import Storage


class Context:
    """One attempt of one job: its tenant, its database transaction, the object store.

    There is one transaction. It begins with the first `transaction()`, and the runtime commits it
    together with the job's new state: a handler's effects are there if and only if its attempt counted.
    """

    def __init__(
        self, job: Claimed, *, engine: Engine, storage: Storage, settings: Settings
    ) -> None:
        self.job = job
        self.storage = storage
        self.settings = settings
        self._engine = engine
        self._connection: Connection | None = None
        self._lost = False

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the job belongs to; every query names it."""
        return self.job.tenant_id

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The job's transaction. Leaving the block doesn't commit; only the runtime does."""
        self.check()
        yield self._open()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short transaction for reading before the work; it ends with the block and keeps nothing."""
        with self._engine.connect() as connection:
            yield connection

    def progress(self, tx: Connection, *, done: int, total: int | None = None) -> None:
        """Record how far the job is, in its own transaction. Raises LostLease."""
        store.progress(tx, self.job, done=done, total=total)

    def check(self) -> None:
        """Raise LostLease when the job has been taken over or cancelled; call it between long steps."""
        if self._lost:
            raise LostLease(f"job {self.job.id} is no longer attempt {self.job.attempt}'s")

    def lose(self) -> None:
        """The heartbeat's word that the lease is gone."""
        self._lost = True

    @contextmanager
    def settling(self) -> Iterator[Connection]:
        """For the runtime: the job's transaction, committed at the end of the block."""
        connection = self._open()
        yield connection
        connection.commit()

    def close(self) -> None:
        """Roll back whatever isn't committed and give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection
