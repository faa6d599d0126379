"""One campaign: start everything, post and strike until both lists are done, wait for quiet, check the books."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from infra.local.waiting import until
from tests.chaos.aftercare import Aftercare
from tests.chaos.breaks import WITHOUT
from tests.chaos.checks import violations
from tests.chaos.faults import strike
from tests.chaos.history import History
from tests.chaos.journal import Journal
from tests.chaos.orders import orders
from tests.chaos.poster import Client, Poster
from tests.chaos.quiet import tidy, wait_for_quiet
from tests.chaos.recovery import recoveries
from tests.chaos.report import Result
from tests.chaos.silence import SilenceWatch
from tests.chaos.stage import WEBS, Stage
from tests.chaos.standing_orders import place
from tests.chaos.timetable import PACE_SECONDS, Fault, Round, timetable

LONGEST_SECONDS = 900.0
"""Faults that are still to come by then are left out, and said to be."""
_SERIES_SECONDS = 6.0
_RECOVERY_SECONDS = 20.0
_FASTEST = 250.0
_FLOWING = """
    SELECT (SELECT count(*) FROM jobs
            WHERE finished_at > to_timestamp(%(since)s) AND started_at > to_timestamp(%(since)s)) >= 5
       AND NOT EXISTS (SELECT FROM jobs WHERE id = ANY(%(struck)s)
                       AND state IN ('scheduled', 'queued', 'running'))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. `small` leaves out what takes long; `breaking` names the promise to break."""

    seed: int
    jobs: int
    faults: int
    small: bool = False
    breaking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign is."""

    phase: str
    posted: int
    seconds: float
    orders: int
    struck: int
    faults: int


def run(
    plan: Plan,
    home: Path,
    *,
    say: Callable[[str], None],
    show: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Raises infra.local.LocalError when the system can't be started."""
    stage = Stage(home, seed=plan.seed, small=plan.small, breaking=plan.breaking, say=say)
    with stage.running():
        return Campaign(stage, plan, show).run()


class Campaign:
    """The driver; its threads post, look after jobs and strike."""

    def __init__(self, stage: Stage, plan: Plan, show: Callable[[Progress], None]) -> None:
        self._stage = stage
        self._plan = plan
        self._show = show
        self._journal = Journal()
        webs = {web: stage.ports[f"client-{web}"] for web in WEBS}
        client = partial(Client, webs, stage.tenant.api_key, self._journal)
        self._poster = Poster(
            orders(plan.seed, plan.jobs), seed=plan.seed, client=client, journal=self._journal
        )
        self._client = client()
        self._aftercare = Aftercare(self._journal, client=client, database=stage.database)
        self._left_out = _left_out(stage, plan)
        self._rounds = timetable(
            plan.seed, plan.faults, small=plan.small, without=frozenset(self._left_out)
        )
        self._began = time.monotonic()
        self._phase = "faults"
        self._over = threading.Event()

    def run(self) -> Result:
        with closing(self._client) as client:
            place(self._stage, client, seed=self._plan.seed, count=4 if self._plan.small else 20)
        clock = threading.Thread(target=self._keep_pace, name="pace", daemon=True)
        posting = threading.Thread(target=self._poster.run, name="poster", daemon=True)
        watch = SilenceWatch(self._stage, self._journal, self._over)
        for thread in (clock, posting, watch.thread):
            thread.start()
        self._aftercare.start()
        for number, each in enumerate(self._rounds, start=1):
            self._phase = f"round {number}"
            self._strike_together(each)
            self._phase = f"series {number}"
            self._strike_in_turn(each)
        self._phase = "posting the rest"
        posting.join(max(1.0, LONGEST_SECONDS - self._elapsed))
        self._poster.stopped.set()
        self._phase = "waiting for quiet"
        wait_for_quiet(self._stage, self._aftercare)
        tidy(self._stage)
        self._phase = "checking"
        self._over.set()
        clock.join()
        return self._result()

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _strike_together(self, each: Round) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(len(each.lanes) or 1, thread_name_prefix="lane") as pool:
            lanes = [pool.submit(self._lane, faults, began) for faults in each.lanes.values()]
        for lane in lanes:
            lane.result()

    def _lane(self, faults: tuple[Fault, ...], began: float) -> None:
        for fault in faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            self._strike(fault, whole=False)

    def _strike_in_turn(self, each: Round) -> None:
        for fault in each.series:
            self._strike(fault, whole=True)
            until(self._has_recovered, seconds=_RECOVERY_SECONDS)

    def _strike(self, fault: Fault, *, whole: bool) -> None:
        if self._elapsed > LONGEST_SECONDS:
            self._journal.miss(fault, "the campaign took too long")
        else:
            strike(self._stage, fault, self._journal, whole=whole)

    def _has_recovered(self) -> bool:
        """Whether work that began after the last blow has been done, and what it struck has ended."""
        last = self._journal.blows[-1]
        try:
            with self._stage.database() as tx:
                row = tx.execute(
                    _FLOWING, {"since": last.ended, "struck": list(last.jobs)}
                ).fetchone()
        except psycopg.Error:
            return False
        return row is not None and bool(row[0])

    def _keep_pace(self) -> None:
        """Spread the orders over the time that the faults will take, as far as can be told."""
        together = sum(len(lane) for each in self._rounds for lane in each.lanes.values())
        in_turn = sum(len(each.series) for each in self._rounds)
        planned = PACE_SECONDS * together + _SERIES_SECONDS * in_turn
        while not self._over.wait(0.5):
            whole = sum(blow.whole for blow in self._journal.blows)
            done = PACE_SECONDS * (self._journal.struck - whole) + _SERIES_SECONDS * whole
            slower = max(1.0, self._elapsed / done) if done > planned / 5 else 1.2
            left = slower * (planned - done)
            self._poster.rate = min(_FASTEST, self._poster.left / left) if left > 0 else _FASTEST
            self._show(
                Progress(
                    phase=self._phase,
                    seconds=self._elapsed,
                    posted=self._poster.total - self._poster.left,
                    orders=self._poster.total,
                    struck=self._journal.struck,
                    faults=self._plan.faults,
                )
            )

    def _result(self) -> Result:
        with self._stage.database() as tx:
            history = History.read(tx)
        return Result(
            seed=self._plan.seed,
            breaking=self._plan.breaking,
            jobs=len({one.order.number for one in self._journal.accepted}),
            ledger_jobs=len(history.by_job),
            seconds=self._elapsed,
            journal=self._journal,
            history=history,
            violations=violations(self._stage, self._journal, history),
            recoveries=recoveries(history, self._journal),
            left_out=self._left_out,
        )


def _left_out(stage: Stage, plan: Plan) -> dict[str, str]:
    """Kinds of fault that this campaign goes without, and why."""
    without = dict.fromkeys(
        WITHOUT.get(plan.breaking, ()), f"it would break {plan.breaking!r} by itself"
    )
    if not stage.has_faketime:
        without["clock off"] = "libfaketime is not installed"
    return without
