"""The books, checked when all is quiet: from the database, the broker, the store and the provider's record."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import psycopg

from tests.chaos import ledger_checks, orders
from tests.chaos.blunders import blunders
from tests.chaos.history import History
from tests.chaos.journal import Accepted, Journal
from tests.chaos.leftovers import left_in_queues, left_in_store
from tests.chaos.orders import SUCCEEDED, Order
from tests.chaos.provider import BOOKS
from tests.chaos.stage import Stage

LOST, DOUBLED, STUCK, UNLAWFUL, REFUSED = "lost", "doubled", "stuck", "unlawful", "refused"
NEEDLESS_SHARE = 0.1
PROMISES = (LOST, DOUBLED, STUCK, UNLAWFUL, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken promise, and the job that it was broken to, where there is one."""

    promise: str
    what: str
    job_id: UUID | None = None


def violations(stage: Stage, journal: Journal, history: History) -> list[Violation]:
    """Everything that is wrong; empty when every promise was kept."""
    with stage.database() as tx:
        books = Books(tx, stage, journal)
        return [
            *(Violation(promise=REFUSED, what=what) for what in journal.refused),
            *(Violation(promise=STUCK, what=f"{one} took no more jobs") for one in journal.silent),
            *_ledger(tx),
            *books.orders(),
            *books.charges(),
            *books.accounts(),
            *books.imports(),
            *books.slots(),
            *_early(journal, history),
            *_calm(journal, history),
            *_rubbish(journal, history),
            *(Violation(promise=UNLAWFUL, what=what) for what in blunders(stage)),
            *(Violation(promise=STUCK, what=what) for what in left_in_queues(stage)),
            *(Violation(promise=STUCK, what=what) for what in left_in_store(stage)),
        ]


def _ledger(tx: psycopg.Connection) -> Iterator[Violation]:
    table = {"table": ledger_checks.transition_table()}
    for promise, checks in ((UNLAWFUL, ledger_checks.UNLAWFUL), (STUCK, ledger_checks.STUCK)):
        for rule, query in checks.items():
            for job_id, what in tx.execute(query, table):
                yield Violation(promise=promise, what=f"{rule}: {what}", job_id=job_id)


class Books:
    """What was ordered against what came of it."""

    def __init__(self, tx: psycopg.Connection, stage: Stage, journal: Journal) -> None:
        self._tx = tx
        self._stage = stage
        self._accepted: dict[int, Accepted] = {one.order.number: one for one in journal.accepted}
        self._states: dict[UUID, str] = dict(tx.execute("SELECT id, state FROM jobs").fetchall())

    def orders(self) -> Iterator[Violation]:
        """Every accepted order has one job that ended as it should, and each of its rows once."""
        jobs = Counter(
            number
            for (number,) in self._tx.execute(
                "SELECT (payload ->> 'number')::int FROM jobs"
                " WHERE parent_id IS NULL AND payload ? 'number'"
                " AND id NOT IN (SELECT unnest(callback_ids) FROM batches)"
            )
        )
        rows: Counter[tuple[int, int]] = Counter()
        for number, step, count in self._tx.execute(
            "SELECT number, step, count(*) FROM chaos_effects WHERE number >= 0"
            " GROUP BY number, step"
        ):
            rows[number, step] = count
        for number, accepted in self._accepted.items():
            if accepted.order.kind is not None:
                yield from self._order(accepted, jobs[number], rows)

    def _order(
        self, accepted: Accepted, jobs: int, rows: Counter[tuple[int, int]]
    ) -> Iterator[Violation]:
        order, job_id = accepted.order, accepted.id
        name = f"order {order.number} ({order.name})"
        state = self._states.get(job_id)
        if state is None:
            yield Violation(promise=LOST, what=f"{name} was accepted and is gone", job_id=job_id)
            return
        if jobs != 1:
            yield Violation(promise=DOUBLED, what=f"{name} has {jobs} jobs", job_id=job_id)
        if state not in order.ends:
            yield Violation(promise=LOST, what=f"{name} ended in {state}", job_id=job_id)
        wanted = 1 if state == SUCCEEDED else 0
        for step in range(order.steps):
            count = rows[order.number, step]
            what = f"{name}: row {step} is there {count} times, the job is {state}"
            if count < wanted:
                yield Violation(promise=LOST, what=what, job_id=job_id)
            elif count > wanted:
                yield Violation(promise=DOUBLED, what=what, job_id=job_id)

    def charges(self) -> Iterator[Violation]:
        """By the provider's own books: a charge each, under one key."""
        with sqlite3.connect(self._stage.books / BOOKS) as books:
            made = dict(books.execute("SELECT number, count(*) FROM charges GROUP BY number"))
        for number, accepted in self._accepted.items():
            count = made.get(number, 0)
            wanted = int(accepted.order.name == "charge")
            if count == wanted or self._states.get(accepted.id) != SUCCEEDED:
                continue
            promise = LOST if count < wanted else DOUBLED
            what = f"order {number} was charged {count} times"
            yield Violation(promise=promise, what=what, job_id=accepted.id)

    def accounts(self) -> Iterator[Violation]:
        """Two holders of one lock would lose an update, or get tokens out of order."""
        for account, balance, count in self._tx.execute(
            "SELECT account, balance, count(e.id) FROM chaos_accounts a LEFT JOIN"
            " (SELECT e.id, (j.payload ->> 'account')::int AS account FROM chaos_effects e"
            "  JOIN jobs j ON j.id = e.job_id WHERE e.token IS NOT NULL) e USING (account)"
            " GROUP BY account, balance HAVING balance <> count(e.id)"
        ):
            what = f"account {account} holds {balance} after {count} jobs under its lock"
            yield Violation(promise=DOUBLED, what=what)
        for job_id, token, before in self._tx.execute(
            "SELECT * FROM (SELECT e.job_id, e.token, lag(e.token) OVER"
            "  (PARTITION BY j.payload ->> 'account' ORDER BY e.id) AS before"
            "  FROM chaos_effects e JOIN jobs j ON j.id = e.job_id WHERE e.token IS NOT NULL) t"
            " WHERE before >= token"
        ):
            what = f"lock token {token} came after {before}"
            yield Violation(promise=DOUBLED, what=what, job_id=job_id)

    def imports(self) -> Iterator[Violation]:
        """Status, counts, contacts and mail of every import."""
        columns = ("job_id", "status", "total", "inserted", "updated", "unchanged", "rejected")
        rows = {
            row[0]: dict(zip(columns, row[1:], strict=True))
            for row in self._tx.execute(f"SELECT id, {', '.join(columns)} FROM imports")  # noqa: S608
        }
        contacts: dict[int, int] = dict(
            self._tx.execute(
                "SELECT substring(email FROM 'order(\\d+)-')::int, count(*) FROM contacts GROUP BY 1"
            ).fetchall()
        )
        mails = Counter(mail.subject for mail in self._stage.system.mails())
        for number, accepted in self._accepted.items():
            if accepted.order.kind is None:
                yield from _import(
                    accepted, rows.get(accepted.id), int(contacts.get(number, 0)), mails
                )

    def slots(self) -> Iterator[Violation]:
        """Every slot between a schedule's first and now was fired, as one job with one row."""
        for name, slot, rows in self._tx.execute(
            """
            SELECT s.name, due.at, count(e.id)
            FROM schedules s
            JOIN LATERAL (SELECT min(slot_at) AS at FROM schedule_slots f
                          WHERE f.schedule_id = s.id) first ON true
            CROSS JOIN LATERAL generate_series(first.at, clock_timestamp() - interval '5 seconds',
                                               interval '1 minute') due(at)
            LEFT JOIN schedule_slots f ON f.schedule_id = s.id AND f.slot_at = due.at
            LEFT JOIN chaos_effects e ON e.job_id = f.job_id
            WHERE s.kind = 'chaos.tick'
            GROUP BY s.name, due.at HAVING count(e.id) <> 1
            """
        ):
            promise = DOUBLED if rows else LOST
            yield Violation(promise=promise, what=f"{name}: slot {slot} has {rows} rows")
        for job_id, slots in self._tx.execute(
            "SELECT j.id, count(f.*) FROM jobs j LEFT JOIN schedule_slots f ON f.job_id = j.id"
            " WHERE j.kind = 'chaos.tick' GROUP BY j.id HAVING count(f.*) <> 1"
        ):
            what = f"a scheduled job belongs to {slots} slots"
            yield Violation(promise=DOUBLED, what=what, job_id=job_id)


def _import(
    accepted: Accepted, row: Mapping[str, object] | None, contacts: int, mails: Counter[str]
) -> Iterator[Violation]:
    order: Order = accepted.order
    name = f"import of order {order.number}"
    if row is None:
        yield Violation(promise=LOST, what=f"{name} was accepted and is gone")
        return
    job_id = row["job_id"]
    assert isinstance(job_id, UUID)
    wanted = orders.import_counts(order)
    found = {column: row[column] for column in wanted}
    if row["status"] != SUCCEEDED or found != wanted or contacts != wanted["inserted"]:
        what = f"{name} is {row['status']} with {found} and {contacts} contacts, not {wanted}"
        more = contacts > wanted["inserted"] or int(str(found["total"])) > wanted["total"]
        yield Violation(promise=DOUBLED if more else LOST, what=what, job_id=job_id)
    if not mails[f"Import is finished: order-{order.number}.csv"]:
        yield Violation(promise=LOST, what=f"{name}: no mail about it", job_id=job_id)


def _early(journal: Journal, history: History) -> Iterator[Violation]:
    """No attempt begins before the time that was ordered."""
    for accepted in journal.accepted:
        begun = history.begun(accepted.id, after=0.0)
        if accepted.not_before is not None and begun is not None and begun < accepted.not_before:
            what = f"order {accepted.order.number} began {accepted.not_before - begun:.3f} s early"
            yield Violation(promise=UNLAWFUL, what=what, job_id=accepted.id)


def _calm(journal: Journal, history: History) -> Iterator[Violation]:
    """A job whose message is not lost may be put back now and then, but not by the hundred."""
    lost = sum(len(b.jobs) for b in journal.blows if b.fault.kind == "lose messages")
    put_back = history.rescues["message_lost"]
    if put_back > lost + NEEDLESS_SHARE * len(journal.accepted):
        what = f"{put_back} messages were taken for lost, but only {lost} were"
        yield Violation(promise=UNLAWFUL, what=what)


def _rubbish(journal: Journal, history: History) -> Iterator[Violation]:
    """Every planted message is kept among the dead letters, once."""
    kept = Counter(mark for mark, _ in history.collected)
    for mark in (mark for blow in journal.blows for mark in blow.marks):
        if kept[mark] != 1:
            promise = DOUBLED if kept[mark] else LOST
            what = f"{mark} is {kept[mark]} times among the dead letters"
            yield Violation(promise=promise, what=what)
