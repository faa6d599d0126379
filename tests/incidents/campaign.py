"""Each incident in turn: make the fault, wait for its alerts, follow its runbook, wait until they clear."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from tests.incidents.incident import Incident
from tests.incidents.stage import Stage

FIRE_SECONDS = 300.0
CLEAR_SECONDS = 300.0
LOOK_SECONDS = 0.5


@dataclass(kw_only=True)
class Seen:
    """One alert of an incident: the seconds from the fault until it fired, and from the runbook's last command
    until it was over; None where that didn't happen in time.
    """

    alert: str
    labels: Mapping[str, str]
    fired_after: float | None = None
    cleared_after: float | None = None


@dataclass(kw_only=True)
class Record:
    """What one incident came to. `others` are alerts that fired beside."""

    name: str
    fault: str
    page: str
    alerts: list[Seen]
    others: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    commands_seconds: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)
    screenshot: str = ""
    error: str = ""

    @property
    def well(self) -> bool:
        return not self.error and all(
            one.fired_after is not None and one.cleared_after is not None for one in self.alerts
        )

    def as_facts(self) -> dict[str, Any]:
        return asdict(self)


def run_all(
    stage: Stage,
    incidents: Sequence[Incident],
    *,
    say: Callable[[str], None],
    photograph: Callable[[Incident], str],
) -> list[Record]:
    """In the order given; an incident begins when no alert of the start or of the one before is left."""
    records = []
    _quiet(stage)
    for one in incidents:
        say(f"{one.name}: {one.fault}")
        record = _begin(one)
        records.append(record)
        try:
            _run(stage, one, record, photograph)
        except Exception as error:  # noqa: BLE001 - the others are still worth a try
            record.error = repr(error)
            say(f"  FAILED: {error!r}")
        for seen in record.alerts:
            say(
                f"  {seen.alert} after {_seconds(seen.fired_after)}, over {_seconds(seen.cleared_after)}"
            )
        if record.others:
            say(f"  beside it: {', '.join(record.others)}")
        _quiet(stage)
    return records


def _begin(one: Incident) -> Record:
    seen = [Seen(alert=name, labels=labels) for name, labels in one.awaited]
    return Record(name=one.name, fault=one.fault, page=one.page, alerts=seen)


def _run(
    stage: Stage, one: Incident, record: Record, photograph: Callable[[Incident], str]
) -> None:
    seen = record.alerts
    stage.page, stage.done, stage.notes = one.page, [], {}
    others: set[str] = set()
    with closing(one.course(stage)) as course:
        began = time.monotonic()
        next(course)
        _wait(stage, seen, others, began, fires=True)
        record.screenshot = photograph(one)
        commanded = time.monotonic()
        next(course)
        ended = time.monotonic()
        record.commands_seconds = ended - commanded
        _wait(
            stage,
            [each for each in seen if each.fired_after is not None],
            others,
            ended,
            fires=False,
        )
        record.commands, record.notes = stage.done, stage.notes
        with suppress(StopIteration):
            next(course)
    record.others = sorted(others - {each.alert for each in seen})


def _wait(
    stage: Stage, seen: Sequence[Seen], others: set[str], since: float, *, fires: bool
) -> None:
    """Until each fires, or none does any more; or until it has taken too long."""
    limit = FIRE_SECONDS if fires else CLEAR_SECONDS
    left = list(seen)
    while left and time.monotonic() - since < limit:
        alerts = stage.watcher.alerts()
        others |= {alert.name for alert in alerts if alert.state == "firing"}
        for each in list(left):
            if any(alert.is_about(each.alert, each.labels) for alert in alerts) == fires:
                seconds = round(time.monotonic() - since, 1)
                if fires:
                    each.fired_after = seconds
                else:
                    each.cleared_after = seconds
                left.remove(each)
        time.sleep(LOOK_SECONDS)


def _quiet(stage: Stage) -> None:
    """Until nothing fires and nothing is about to."""
    deadline = time.monotonic() + CLEAR_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if not stage.watcher.alerts():
                return
        time.sleep(LOOK_SECONDS)


def _seconds(value: float | None) -> str:
    return "NEVER" if value is None else f"{value:.0f} s"
