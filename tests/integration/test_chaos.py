"""The fault campaign, small: a hundred and fifty jobs, the cheap faults, the same code and the same books."""

import os
from collections import Counter

import psycopg
import pytest
from psycopg.errors import AdminShutdown, InvalidSqlStatementName

from app.logs import cause
from infra.local import LocalError
from tests.chaos.blunders import found_in
from tests.chaos.campaign import Plan, run
from tests.chaos.orders import SHARES, import_counts, import_csv, orders
from tests.chaos.report import Result
from tests.chaos.timetable import KINDS, timetable

pytestmark = pytest.mark.long

JOBS, FAULTS = 150, 20


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    plan = Plan(seed=1, jobs=JOBS, faults=FAULTS, small=True)
    try:
        return run(plan, tmp_path_factory.mktemp("chaos"), say=lambda _: None)
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no servers: {missing}")


def test_every_promise_is_kept_under_faults(result: Result) -> None:
    assert [(broken.promise, broken.what) for broken in result.violations] == []


def test_every_order_was_accepted_and_most_faults_struck(result: Result) -> None:
    """An empty campaign keeps every promise."""
    assert result.jobs + result.journal.too_late == JOBS
    assert len(result.journal.blows) >= FAULTS * 3 // 4, result.journal.missed
    assert result.recoveries


@pytest.mark.parametrize("jobs", [20, 300, 10_000])
def test_orders_and_faults_are_functions_of_the_seed_alone(jobs: int) -> None:
    assert orders(7, jobs) == orders(7, jobs)
    assert orders(7, jobs) != orders(8, jobs)
    assert timetable(7, 300) == timetable(7, 300)
    assert timetable(7, 300) != timetable(8, 300)


def test_a_whole_campaign_has_every_kind_of_order_and_of_fault_and_as_many_as_it_was_asked_for() -> (
    None
):
    assert Counter(order.name for order in orders(1, 10_000)).keys() == {"row", *SHARES}
    faults = Counter(
        fault.kind
        for each in timetable(1, 300)
        for lane in (*each.lanes.values(), each.series)
        for fault in lane
    )
    assert faults.keys() == KINDS.keys()
    assert min(faults.values()) >= 2
    assert faults.total() == 300


def test_an_import_announces_what_is_in_its_file() -> None:
    order = next(order for order in orders(1, 300) if order.kind is None)
    lines = import_csv(order).decode().splitlines()
    assert len(lines) - 1 == import_counts(order)["total"]
    addresses = [line.split(",")[0] for line in lines[1:] if "@" in line]
    assert len(set(addresses)) == import_counts(order)["inserted"]


def test_a_statement_that_makes_no_sense_is_told_from_a_line_that_broke() -> None:
    def line(error: psycopg.Error) -> str:
        return f"1 [warning] [26784] dispatcher.disconnected error='{cause(error)}'\n"

    log = line(AdminShutdown()) + 2 * line(InvalidSqlStatementName())
    (told,) = found_in("dispatcher-1", log)
    assert told.startswith("dispatcher-1: ")
    assert "InvalidSqlStatementName[26000]" in told
