"""The outbox: due jobs out, in small batches that several dispatchers share without meeting.

A round costs what it takes, whatever is in the backlog: what has come due is made `ready` by its time, and
what is ready is found tenant by tenant and kind by kind, at the head of each one's part of the index.
"""

import json
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import Connection, text

from app.broker.topology import Queue
from app.db import begin_with, execute_prepared, rows_prepared
from app.ledger.parking import ALONE, admit
from app.ledger.rules import Rules, Scope, rule_of
from app.ledger.turns import Lap, Quota, Seen, Turn, plans_of, quota_of, share_out, steps_for, visit

# A plan that was made while the tables were small must not scan them when they have grown; and one that
# doesn't know the batch's size takes it for a tenth of the table. Each row is found by an index, one by one,
# and so the plan is the same every time: it is made once. Nobody waits for the disk: a claim's commit flushes what this
# wrote with its own, and a crash before that costs a second message.
_SETTINGS = text("""
    SELECT set_config('plan_cache_mode', 'force_generic_plan', true),
           set_config('synchronous_commit', 'off', true),
           set_config('idle_in_transaction_session_timeout',
                      coalesce(:limit, current_setting('idle_in_transaction_session_timeout')), true),
           (SELECT count(set_config(name, 'off', true))
            FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_mergejoin',
                              'enable_hashjoin', 'jit']) AS name)
""")
# Not clock_timestamp(), which can't end a scan of the index: it may be another time at each row.
# The words are an array: joined to their table they may be looked for anew for each of its rows, and then all are taken.
# With the rules, and when the next is due, in the same round trip. What has a concurrency key is parked: `admit` lets it in.
# Half of the words are the newest, so that who has just come doesn't wait for all keys of another. Who isn't alone leaves them
# where they are: held and put back they would be in the way of the one who heeds them.
READY = text(f"""
    WITH due AS MATERIALIZED (
        SELECT o.job_id FROM outbox o
        WHERE NOT o.ready AND NOT o.parked AND o.run_at <= statement_timestamp()
        ORDER BY o.run_at LIMIT :batch
        FOR UPDATE SKIP LOCKED
    ), made AS (
        UPDATE outbox
        SET kind = jobs.kind, priority = jobs.priority, ready = jobs.concurrency_key IS NULL,
            parked = jobs.concurrency_key IS NOT NULL, concurrency_key = jobs.concurrency_key,
            concurrency_limit = jobs.concurrency_limit, in_order = jobs.in_order
        FROM due JOIN jobs ON jobs.id = due.job_id
        WHERE outbox.job_id = due.job_id
        RETURNING outbox.tenant_id, outbox.concurrency_key
    ), heeding AS MATERIALIZED (
        SELECT CASE WHEN EXISTS (SELECT FROM key_wakes)
                      OR EXISTS (SELECT FROM made WHERE concurrency_key IS NOT NULL)
                    THEN {ALONE} END AS alone
    ), woken AS (
        DELETE FROM key_wakes WHERE id = ANY(
            ARRAY(SELECT id FROM key_wakes WHERE (SELECT alone FROM heeding)
                  ORDER BY id LIMIT :half FOR UPDATE SKIP LOCKED)
            || ARRAY(SELECT id FROM key_wakes WHERE (SELECT alone FROM heeding)
                     ORDER BY id DESC LIMIT :half FOR UPDATE SKIP LOCKED))
        RETURNING tenant_id, concurrency_key
    ), keys AS MATERIALIZED (
        SELECT tenant_id, concurrency_key FROM made WHERE concurrency_key IS NOT NULL
        UNION SELECT tenant_id, concurrency_key FROM woken
    )
    SELECT one.*,
           (
               SELECT extract(epoch FROM o.run_at - clock_timestamp())::float8 FROM outbox o
               WHERE NOT o.ready AND NOT o.parked AND o.run_at > statement_timestamp()
               ORDER BY o.run_at LIMIT 1
           ) AS next_due,
           r.scope, r.name, r.paused_at, r.paused_reason, r.max_running, r.weight
    FROM (SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM woken) AS woken,
                 (SELECT jsonb_agg(keys) FROM keys) AS to_admit, (SELECT alone FROM heeding) AS alone) one
    LEFT JOIN dispatch_rules r ON true
""")  # noqa: S608 - a constant
# All locks skip: a row that another dispatcher holds is theirs, and a job that is being cancelled right
# now is looked at again in the next round. Waiting here could deadlock with the cancel.
TAKE = text("""
    SELECT j.id, j.tenant_id, j.kind, j.version, j.attempt, j.queue, j.traceparent
    FROM (
        SELECT due.*, row_number() OVER (PARTITION BY due.kind ORDER BY due.pass, due.turn) <= coalesce(
                   CAST(CAST(:quotas AS jsonb) ->> due.kind AS bigint), :batch) AS allowed
        FROM (
            SELECT head.*, (head.nth - 1) / head.weight AS pass
            FROM (
                SELECT line.rank, line.turn, line.kind, line.share, line.weight, first.job_id,
                       row_number() OVER (PARTITION BY line.rank, line.turn
                                          ORDER BY first.priority, first.run_at) AS nth
                FROM unnest(CAST(:ranks AS int[]), CAST(:queues AS text[]), CAST(:turns AS int[]),
                            CAST(:tenants AS uuid[]), CAST(:kinds AS text[]), CAST(:mosts AS int[]),
                            CAST(:shares AS int[]), CAST(:weights AS int[]))
                    AS line(rank, queue, turn, tenant_id, kind, most, share, weight)
                CROSS JOIN LATERAL (
                    SELECT o.job_id, o.priority, o.run_at FROM outbox o
                    WHERE o.ready AND o.queue = line.queue AND o.tenant_id = line.tenant_id
                      AND o.kind = line.kind
                    ORDER BY o.priority, o.run_at LIMIT line.most
                    FOR UPDATE SKIP LOCKED
                ) first
            ) head
            WHERE head.nth <= head.share
        ) due
    ) box
    JOIN jobs j ON j.id = box.job_id AND j.state = 'scheduled'
    WHERE box.allowed
    ORDER BY box.rank, box.pass, box.turn, box.nth
    LIMIT :batch
    FOR NO KEY UPDATE OF j SKIP LOCKED
""")
_LINE = ("ranks", "queues", "turns", "tenants", "kinds", "mosts", "shares", "weights")
_MARK = text("""
    WITH moved AS (
        UPDATE jobs SET state = 'queued', queued_at = clock_timestamp()
        WHERE id = ANY(:job_ids) AND state = 'scheduled'
        RETURNING id, tenant_id, queue, kind, attempt, queued_at, concurrency_key
    ), gone AS (
        DELETE FROM outbox WHERE job_id = ANY(:job_ids)
    ), out AS (
        INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at, concurrency_key)
        SELECT id, tenant_id, queue, kind, attempt + 1, queued_at, concurrency_key FROM moved
        ON CONFLICT (job_id) DO UPDATE
        SET queued_at = excluded.queued_at, attempt = excluded.attempt
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'dispatch', 'scheduled', 'queued', attempt FROM moved
    )
    SELECT count(*) FROM moved
""")
_POSTPONE = text("""
    UPDATE outbox SET ready = false, run_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE job_id = ANY(:job_ids)
""")
_QUEUES = [queue.value for queue in Queue]
HALF_OF_THE_WORDS = 100
"""So many of the oldest words about keys are heeded in a round, and as many of the newest, which is more than come in meanwhile.
A look at a key costs what ten jobs that come due do, and an urgent job may have to wait for the round.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueJob:
    """A job to publish. `attempt` is the number of attempts made so far."""

    id: UUID
    tenant_id: UUID
    kind: str
    version: int
    attempt: int
    queue: str
    traceparent: str | None


@dataclass(slots=True)
class Round:
    """What a dispatcher knows from one round to the next: where the laps stand, and what the last one said.

    `again`: the queues in which another round may find something at once. `curbed`: a limit kept something back, which
    an end of a job can change at any time; or somebody was at a concurrency key. `due_at`: when the next
    job is due that wasn't yet, by the monotonic clock; None: there was none.
    """

    laps: dict[str, Lap] = field(default_factory=dict)
    again: frozenset[str] = frozenset()
    curbed: bool = False
    due_at: float | None = None

    def lap(self, queue: str) -> Lap:
        """That queue's."""
        return self.laps.setdefault(queue, Lap())

    def copy(self) -> "Round":
        """As it is now."""
        return replace(self, laps={queue: replace(lap) for queue, lap in self.laps.items()})


@dataclass(frozen=True, slots=True)
class _Offer:
    """What one queue offers in this round."""

    queue: str
    turns: list[Turn]
    seen: Seen
    room: int


def take_due(
    tx: Connection,
    *,
    batch: int,
    rooms: Mapping[str, int] | None = None,
    this: Round | None = None,
    idle_seconds: int | None = None,
) -> list[DueJob]:
    """Lock at most `batch` due jobs, most urgent queue first: a turn each for the tenants, and of a tenant's
    by priority, then the longest due. Of a queue not more than it has `rooms` for; None is room for all.
    If nothing happens in it for `idle_seconds`, PostgreSQL ends the transaction.

    They stay locked until `tx` ends: a worker that already got the message waits at its claim, and so
    never sees a job that is published but not yet `queued`.
    """
    this = Round() if this is None else this
    limit = None if idle_seconds is None else f"{idle_seconds}s"
    begin_with(tx, _SETTINGS, {"limit": limit})
    half = min(HALF_OF_THE_WORDS, max(1, batch // 2))
    first, *_ = rows = rows_prepared(tx, READY, {"batch": batch, "half": half})
    this.due_at = None if first.next_due is None else time.monotonic() + first.next_due
    missed = first.to_admit is not None and admit(tx, first.to_admit, alone=first.alone)
    busy = missed or first.alone is False
    rules = Rules.of(rule_of(row) for row in rows if row.scope is not None)
    quota = quota_of(tx, rules)
    held = {*rules.paused(Scope.KIND), *quota.exhausted}
    wanted = _rooms(rules, rooms, batch)
    steps = {queue: steps_for(this.lap(queue), room, rules) for queue, room in wanted.items()}
    seen = visit(tx, {queue: (this.lap(queue), steps[queue]) for queue in wanted})
    plans = plans_of(tx, rules, {tenant for each in seen.values() for tenant in each.tenants})
    offers = [
        _Offer(
            queue,
            share_out(this.lap(queue), seen[queue], plans, rules, quota, held=held, room=room),
            seen[queue],
            room,
        )
        for queue, room in wanted.items()
    ]
    found = _take(tx, offers, quota, held, batch)
    due = _within_limits(found, offers)
    kept_back = len(due) < len(found) or bool(_used_up(offers, due, quota) & rules.limited_kinds)
    this.curbed = busy or kept_back or any(t.curbed for each in offers for t in each.turns)
    again = _go_on(this, offers, due, quota)
    if batch in {first.made, len(found)} or first.woken == 2 * half:
        again = frozenset(_QUEUES)
    elif first.made:  # perhaps of a queue that this round doesn't look at
        again |= {queue for queue in _QUEUES if queue not in wanted}
    this.again = again
    return due


def _rooms(rules: Rules, rooms: Mapping[str, int] | None, batch: int) -> dict[str, int]:
    paused = rules.paused(Scope.QUEUE)
    wanted = {queue: batch if rooms is None else rooms.get(queue, 0) for queue in _QUEUES}
    return {
        queue: min(room, batch)
        for queue, room in wanted.items()
        if room > 0 and queue not in paused
    }


def _take(
    tx: Connection, offers: Sequence[_Offer], quota: Quota, held: Container[str], batch: int
) -> list[DueJob]:
    lines = [
        (
            *(rank, offer.queue, number, turn.tenant_id, kind),
            *(min(turn.share, quota.kinds.get(kind, turn.share)), turn.share, turn.weight),
        )
        for rank, offer in enumerate(offers)
        for number, turn in enumerate(offer.turns)
        if turn.share
        for kind in offer.seen.tenants[turn.tenant_id]
        if kind not in held
    ]
    if not lines:
        return []
    columns = dict(zip(_LINE, map(list, zip(*lines, strict=True)), strict=True))
    facts = {**columns, "quotas": json.dumps(quota.kinds), "batch": batch}
    return [DueJob(**row._asdict()) for row in rows_prepared(tx, TAKE, facts)]


def _within_limits(due: Sequence[DueJob], offers: Sequence[_Offer]) -> list[DueJob]:
    """Without those that are beyond their tenant's limit, counted over all queues. What a tenant may have in a queue is not yet
    what it has there: so nothing is set aside for one queue that another could use.
    """
    free = {turn.tenant_id: turn.free for each in offers for turn in each.turns}
    taken = Counter[UUID]()
    within = []
    for job in due:
        most = free[job.tenant_id]
        if most is None or taken[job.tenant_id] < most:
            taken[job.tenant_id] += 1
            within.append(job)
    return within


def _used_up(offers: Sequence[_Offer], due: Sequence[DueJob], quota: Quota) -> set[str]:
    """The kinds of which no more may be sent, and of which there is something, as far as is known."""
    sent = Counter(job.kind for job in due)
    used_up = {kind for kind, free in quota.kinds.items() if sent[kind] >= free}
    if all(each.seen.whole for each in offers):
        used_up &= {
            kind for each in offers for kinds in each.seen.tenants.values() for kind in kinds
        }
    return used_up


def _go_on(
    this: Round, offers: Sequence[_Offer], due: Sequence[DueJob], quota: Quota
) -> frozenset[str]:
    """Move the laps on; the queues of those that have more."""
    taken = Counter((job.queue, job.tenant_id) for job in due)
    sent = Counter(job.kind for job in due)
    if any(sent[kind] >= free > 0 for kind, free in quota.kinds.items()):
        # What was last of its kind may have stood before others, which are next now.
        more = {offer.queue for offer in offers}
    else:
        more = set()
    for offer in offers:
        mine = {turn.tenant_id: taken[offer.queue, turn.tenant_id] for turn in offer.turns}
        if this.lap(offer.queue).move(offer.seen, offer.turns, mine, offer.room):
            more.add(offer.queue)
    return frozenset(more)


def mark_queued(tx: Connection, job_ids: Sequence[UUID]) -> None:
    """The broker has confirmed these: they are `queued`, and out of the outbox."""
    execute_prepared(tx, _MARK, {"job_ids": list(job_ids)})


def postpone(tx: Connection, job_ids: Sequence[UUID], *, seconds: float) -> None:
    """The broker refused these: leave them where they are and look again in a while."""
    tx.execute(_POSTPONE, {"job_ids": list(job_ids), "seconds": seconds})
