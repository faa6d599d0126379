"""infra/prometheus over several environments, by promtool: a fault in one calls for that one alone, by its name."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.unit.test_prometheus import ALERTS, FOLDER, promtool

__all__ = ["promtool"]
PRODUCTION, STAGING = "millrace-production", "millrace-staging"
CHORES = ("collector", "timekeeper", "scheduler", "janitor", "gauge")
EVERY, END, LENGTH = "30s", "40m", "x80"
"""A sample, a test, and its samples: every alert has had its time."""

Series = dict[str, str]
"""Name and labels -> values as promtool has them, without their length."""

WELL: Series = {
    'up{job="web"}': "1",
    'up{job="dispatcher"}': "1",
    'up{job="worker"}': "1",
    'up{job="rabbitmq"}': "1",
    'millrace_http_requests_total{method="GET", route="/v1/jobs", status="200"}': "0+60",
    "millrace_dispatcher_connected": "1",
    'millrace_queue_reading_timestamp_seconds{source="ledger"}': "0+30",
    'millrace_queue_reading_timestamp_seconds{source="broker"}': "0+30",
    'millrace_queue_reading_timestamp_seconds{source="store"}': "0+30",
    'millrace_queue_consumers{queue="default"}': "2",
    'millrace_queue_oldest_age_seconds{queue="default"}': "1",
    'millrace_queue_due_jobs{queue="default"}': "10",
    'millrace_queue_in_flight_jobs{queue="default", state="queued"}': "10",
    'millrace_dispatched_jobs_total{queue="default"}': "0+60",
    'millrace_dispatch_refused_jobs_total{queue="default"}': "0",
    'millrace_job_attempts_total{kind="a", queue="default", outcome="done"}': "0+60",
    'millrace_job_attempts_total{kind="webhook.deliver", queue="default", outcome="done"}': "0+60",
    'millrace_job_attempts_total{kind="webhook.deliver", queue="default", outcome="retry"}': "0+60",
    'millrace_job_wait_seconds_bucket{kind="a", queue="default", le="15"}': "0+60",
    'millrace_job_wait_seconds_bucket{kind="a", queue="default", le="900"}': "0+60",
    'millrace_job_wait_seconds_bucket{kind="a", queue="default", le="+Inf"}': "0+60",
    'millrace_pool_slots{pool="default"}': "2",
    'millrace_pool_children_started_total{pool="default"}': "2",
    "millrace_postgres_connections": "20",
    "millrace_postgres_connections_max": "100",
    "millrace_postgres_oldest_transaction_seconds": "0",
    "rabbitmq_alarms_free_disk_space_watermark": "0",
    "rabbitmq_alarms_memory_used_watermark": "0",
    **{f'millrace_chore_last_success_timestamp_seconds{{chore="{one}"}}': "0+30" for one in CHORES},
    **{f'millrace_chore_failures_total{{chore="{one}"}}': "0" for one in CHORES},
}
BUSY: Series = {
    **WELL,
    'millrace_pool_children_started_total{pool="default"}': "2+1",
    'millrace_job_attempts_total{kind="a", queue="default", outcome="done"}': "0+6000",
}
"""Well, too: children end as they should."""
FAULTS: dict[str, tuple[Series, Sequence[Mapping[str, str]]]] = {
    "MillraceQueueLag": (
        {'millrace_job_wait_seconds_bucket{kind="a", queue="default", le="15"}': "0"},
        [{"queue": "default"}],
    ),
    "MillraceOldestJob": (
        {'millrace_queue_oldest_age_seconds{queue="default"}': "901"},
        [{"queue": "default"}],
    ),
    "MillraceQueueDrain": (
        {
            'millrace_queue_due_jobs{queue="default"}': "60000",
            'millrace_queue_oldest_age_seconds{queue="default"}': "400",
        },
        [{"queue": "default"}],
    ),
    "MillracePoolWithoutWorkers": (
        {'millrace_queue_consumers{queue="default"}': "0"},
        [{"queue": "default"}],
    ),
    "MillraceKindFails": (
        {'millrace_job_attempts_total{kind="a", queue="default", outcome="retry"}': "0+30"},
        [{"kind": "a"}],
    ),
    "MillraceMailWaits": (
        {'millrace_job_attempts_total{kind="mail.a", queue="high", outcome="snooze"}': "0+1"},
        [{}],
    ),
    "MillraceDeadLetters": ({'millrace_dead_letters_open{kind="a"}': "3"}, [{"kind": "a"}]),
    "MillraceChildrenRestart": (
        {'millrace_pool_children_started_total{pool="default"}': "2+1"},
        [{"pool": "default", "instance": "one"}],
    ),
    "MillraceDispatcherStopped": (
        {
            "millrace_dispatcher_connected": "0",
            'millrace_chore_last_success_timestamp_seconds{chore="collector"}': "0",
        },
        [{}],
    ),
    "MillraceChoreStopped": (
        {
            'millrace_chore_last_success_timestamp_seconds{chore="scheduler"}': "",
            'millrace_chore_last_success_timestamp_seconds{chore="gauge"}': "0",
        },
        [{"chore": "scheduler"}, {"chore": "gauge"}],
    ),
    "MillraceTargetDown": ({'up{job="worker"}': "0"}, [{"job": "worker", "instance": "one"}]),
    "MillraceApiErrors": (
        {'millrace_http_requests_total{method="GET", route="/v1/jobs", status="500"}': "0+6"},
        [{}],
    ),
    "MillraceLedgerUnreachable": (
        {'millrace_queue_reading_timestamp_seconds{source="ledger"}': ""},
        [{}],
    ),
    "MillraceBrokerUnreachable": (
        {'millrace_queue_reading_timestamp_seconds{source="broker"}': "0"},
        [{}],
    ),
    "MillraceStoreUnreachable": (
        {'millrace_queue_reading_timestamp_seconds{source="store"}': "0"},
        [{}],
    ),
    "MillraceBrokerDiskAlarm": ({"rabbitmq_alarms_free_disk_space_watermark": "1"}, [{}]),
    "MillraceBrokerMemoryAlarm": ({"rabbitmq_alarms_memory_used_watermark": "1"}, [{}]),
    "MillraceBrokerRefuses": (
        {'millrace_dispatch_refused_jobs_total{queue="default"}': "0+10"},
        [{"queue": "default"}],
    ),
    "MillracePostgresConnections": ({"millrace_postgres_connections": "90"}, [{}]),
    "MillraceLongTransaction": ({"millrace_postgres_oldest_transaction_seconds": "0+30"}, [{}]),
}
"""Of each alert: what is different where it fires ("" is missing), and the labels that it then has."""


def shown(series: Series, namespace: str, *, length: str = LENGTH) -> list[dict[str, str]]:
    """As input of a test. All have the same instance: nothing but its namespace tells an environment from another."""
    found = []
    for name, values in series.items():
        metric, _, labels = name.removesuffix("}").partition("{")
        own = {"instance": "one", "namespace": namespace}
        inside = ", ".join([*filter(None, [labels]), *(f'{k}="{v}"' for k, v in own.items() if v)])
        if values:
            found.append({"series": f"{metric}{{{inside}}}", "values": values + length})
    return found


def firing(name: str, namespace: str, **labels: str) -> dict[str, Any]:
    has = {**labels, **ALERTS[name]["labels"], "alertname": name, "alertstate": "firing"}
    inside = ", ".join(f'{k}="{v}"' for k, v in {**has, "namespace": namespace}.items() if v)
    return {"labels": f"ALERTS{{{inside}}}", "value": 1}


def look(at: str, *expected: dict[str, Any]) -> dict[str, Any]:
    """All that fires at that moment, and nothing else."""
    asked = 'ALERTS{alertstate="firing"}'
    return {"expr": asked, "eval_time": at, "exp_samples": list(expected)}


def run(
    promtool: Path, folder: Path, *, every: str = EVERY, series: list[dict[str, str]], **looks: Any
) -> None:
    content = {
        "rule_files": [str(FOLDER / f"{name}.yml") for name in ("limits", "rules", "alerts")],
        "evaluation_interval": every,
        "tests": [{"interval": every, "input_series": series, **looks}],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    done = subprocess.run(
        [str(promtool), "test", "rules", str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_fault_here() -> None:
    assert FAULTS.keys() == ALERTS.keys()


def test_a_fault_calls_for_its_environment_alone(promtool: Path, tmp_path: Path) -> None:
    """As many environments as there are faults, each with one; and two that are well."""
    series = shown(WELL, PRODUCTION) + shown(BUSY, STAGING)
    expected = []
    for name, (fault, labels) in FAULTS.items():
        series += shown({**WELL, **fault}, name.lower())
        expected += [firing(name, name.lower(), **each) for each in labels]
    run(promtool, tmp_path, series=series, promql_expr_test=[look(END, *expected)])


def test_an_alert_says_where(promtool: Path, tmp_path: Path) -> None:
    name = "MillraceDispatcherStopped"
    for place, says in ((PRODUCTION, f"{PRODUCTION}: No dispatcher"), ("", "No dispatcher")):
        summary = f"{says} is at work: nothing is sent to the workers."
        called = {
            "exp_labels": {"severity": "page", **({"namespace": place} if place else {})},
            "exp_annotations": {**ALERTS[name]["annotations"], "summary": summary},
        }
        asked = {"alertname": name, "eval_time": "5m", "exp_alerts": [called]}
        series = shown({**WELL, **FAULTS[name][0]}, place)
        run(promtool, tmp_path, series=series, alert_rule_test=[asked])


def test_an_environment_that_is_gone_is_missed_for_half_a_day(
    promtool: Path, tmp_path: Path
) -> None:
    there = {name: WELL[name] for name in ('up{job="web"}', "millrace_dispatcher_connected")}
    series = shown(there, PRODUCTION, length="x4 stale") + shown(there, STAGING, length="x400")
    missed = [
        firing(name, PRODUCTION) for name in ("MillraceDispatcherStopped", "MillraceApiErrors")
    ]
    looks = [look("6m"), look("18m", *missed), look("12h", *missed), look("12h18m")]
    run(promtool, tmp_path, every="3m", series=series, promql_expr_test=looks)


def test_something_is_missed_where_nothing_was_ever_seen(promtool: Path, tmp_path: Path) -> None:
    """Nothing is scraped, or nothing answers; beside an environment that is well, its targets say so."""
    missed = [firing(name, "") for name in ("MillraceDispatcherStopped", "MillraceApiErrors")]
    dead = {name: "0" for name in WELL if name.startswith("up{")}
    jobs = [name.removeprefix('up{job="').removesuffix('"}') for name in dead]
    silent = [firing("MillraceTargetDown", PRODUCTION, job=each, instance="one") for each in jobs]
    alone, beside = shown(dead, PRODUCTION), shown(dead, PRODUCTION) + shown(WELL, STAGING)
    for series, expected in (([], missed), (alone, [*silent, *missed]), (beside, silent)):
        run(promtool, tmp_path, series=series, promql_expr_test=[look("10m", *expected)])


def test_a_new_environment_whose_dispatcher_never_came_misses_it(
    promtool: Path, tmp_path: Path
) -> None:
    web = {'up{job="web"}': "1", "millrace_http_requests_open": "0"}
    series = shown(web, PRODUCTION) + shown(WELL, STAGING)
    expected = firing("MillraceDispatcherStopped", PRODUCTION)
    run(promtool, tmp_path, series=series, promql_expr_test=[look("10m", expected)])
