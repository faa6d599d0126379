"""What the campaign's jobs do. None of their tables has a unique constraint: what happens twice is seen."""

import time

from sqlalchemy import Connection, text

from app.ledger.batches import Batch
from app.ledger.flows import Chain, FanIn
from tests.chaos import contracts
from tests.chaos.charging import ProviderBusy, charge
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome, PermanentError, Retry
from workers.runtime.registry import handles

TABLES = (
    """
    CREATE TABLE chaos_effects (
        id bigint GENERATED ALWAYS AS IDENTITY, number int, step int, job_id uuid, attempt int,
        token bigint, at timestamptz DEFAULT clock_timestamp())
    """,
    "CREATE TABLE chaos_accounts (account int PRIMARY KEY, balance int NOT NULL DEFAULT 0)",
    "CREATE TABLE chaos_mercy (number int PRIMARY KEY)",
)
ACCOUNTS = 8

_EFFECT = text("""
    INSERT INTO chaos_effects (number, step, job_id, attempt, token)
    VALUES (:number, :step, :job_id, :attempt, :token)
""")
_BALANCE = text("SELECT balance FROM chaos_accounts WHERE account = :account")
_SET_BALANCE = text("UPDATE chaos_accounts SET balance = :balance WHERE account = :account")
_PIECES = text("SELECT step FROM chaos_effects WHERE number = :number AND step > 0")
_MERCY = text("SELECT count(*) FROM chaos_mercy WHERE number = :number")
_LOOK_UP_SECONDS = 0.1


def _effect(
    tx: Connection, ctx: Context, number: int, step: int = 0, *, token: int | None = None
) -> None:
    facts = {"number": number, "step": step, "token": token}
    tx.execute(_EFFECT, {**facts, "job_id": ctx.job.id, "attempt": ctx.job.attempt})


def _write_row(ctx: Context, job: contracts.Order) -> Outcome:
    with ctx.transaction() as tx:
        _effect(tx, ctx, job.number)
        time.sleep(job.millis / 1000)
    return Done()


@handles(contracts.Row)
def row(ctx: Context, job: contracts.Row) -> Outcome:
    return _write_row(ctx, job)


@handles(contracts.Urgent)
def urgent(ctx: Context, job: contracts.Urgent) -> Outcome:
    return _write_row(ctx, job)


@handles(contracts.Lazy)
def lazy(ctx: Context, job: contracts.Lazy) -> Outcome:
    return _write_row(ctx, job)


@handles(contracts.Charge)
def charging(ctx: Context, job: contracts.Charge) -> Outcome:
    try:
        ctx.once("charge", lambda key: charge(key, job.number))
    except ProviderBusy as busy:
        return Retry(str(busy), after_seconds=busy.seconds)
    return _write_row(ctx, job)


@handles(contracts.Flaky)
def flaky(ctx: Context, job: contracts.Flaky) -> Outcome:
    outcome = _write_row(ctx, job)
    if ctx.job.attempt <= job.failures:
        raise RuntimeError(f"failure {ctx.job.attempt} of {job.failures}, as planned")
    return outcome


@handles(contracts.Link)
def link(ctx: Context, job: contracts.Link) -> Outcome:
    with ctx.transaction() as tx:
        _effect(tx, ctx, job.number, job.step)
    if job.left == 0:
        return Done()
    if job.number % 2:
        links = [job.model_copy(update={"step": n + 1, "left": 0}) for n in range(job.left)]
        return Done(then=[Chain(links)])
    following = job.model_copy(update={"step": job.step + 1, "left": job.left - 1})
    return Done(then=[following])


@handles(contracts.Fan)
def fan(ctx: Context, job: contracts.Fan) -> Outcome:
    _write_row(ctx, job)
    pieces = [
        contracts.Piece(number=job.number, millis=job.millis, step=step + 1)
        for step in range(job.pieces)
    ]
    last = contracts.Gather(number=job.number, pieces=job.pieces)
    if job.window == 0:
        return Done(then=[FanIn(pieces, then=last)])
    return Done(then=[Batch(jobs=pieces, window=job.window, on_completion=last)])


@handles(contracts.Piece)
def piece(ctx: Context, job: contracts.Piece) -> Outcome:
    with ctx.transaction() as tx:
        _effect(tx, ctx, job.number, job.step)
        time.sleep(job.millis / 1000)
    return Done()


@handles(contracts.Gather)
def gather(ctx: Context, job: contracts.Gather) -> Outcome:
    with ctx.transaction() as tx:
        found = tx.execute(_PIECES, {"number": job.number}).scalars().all()
        if sorted(found) != list(range(1, job.pieces + 1)):
            raise PermanentError(f"released too early: of {job.pieces} pieces {found} are there")
        _effect(tx, ctx, job.number, job.pieces + 1)
    return Done()


@handles(contracts.Locked)
def locked(ctx: Context, job: contracts.Locked) -> Outcome:
    """A lost update is what an overlap would leave: nothing else keeps two of these apart."""
    token = ctx.lock(f"account-{job.account}")
    with ctx.read() as db:
        balance = db.execute(_BALANCE, {"account": job.account}).scalar_one()
    time.sleep(job.millis / 1000)
    with ctx.transaction() as tx:
        tx.execute(_SET_BALANCE, {"account": job.account, "balance": balance + 1})
        _effect(tx, ctx, job.number, token=token)
    return Done()


@handles(contracts.Steps)
def steps(ctx: Context, job: contracts.Steps) -> Outcome:
    done = ctx.saved["done"] if ctx.saved else 0
    for step in range(done, job.steps):
        with ctx.checkpoint({"done": step + 1}) as tx:
            _effect(tx, ctx, job.number, step)
        time.sleep(job.millis / 1000)
    return Done()


@handles(contracts.Long)
def long(ctx: Context, job: contracts.Long) -> Outcome:
    until = time.monotonic() + job.millis / 1000
    while time.monotonic() < until:
        ctx.check()
        time.sleep(_LOOK_UP_SECONDS)
    with ctx.transaction() as tx:
        _effect(tx, ctx, job.number)
    return Done()


@handles(contracts.Doomed)
def doomed(ctx: Context, job: contracts.Doomed) -> Outcome:
    with ctx.read() as db:
        mercy = db.execute(_MERCY, {"number": job.number}).scalar_one()
    if not mercy:
        raise PermanentError("nobody has put it right yet")
    return _write_row(ctx, job)


@handles(contracts.Tick)
def tick(ctx: Context, job: contracts.Tick) -> Outcome:
    with ctx.transaction() as tx:
        _effect(tx, ctx, job.schedule)
    return Done()
