"""The console over a million jobs: what each page costs in the database.

BENCH_JOBS jobs (1,000,000) and all that goes with them are put into a database of its own. Each page is then
asked for as a browser does, its statements are noted down, and each of them is run again under EXPLAIN (ANALYZE,
BUFFERS); a page's figure is the sum. It fails when one takes longer than LIMIT_MS.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, event, text

from app.keys import create_operator_key
from app.main import create_app
from app.roles import Role
from app.settings import Settings
from bench.console_fill import fill, largest_incident
from bench.report import Result
from infra.local.system import LocalSystem

JOBS = int(os.environ.get("BENCH_JOBS", "1000000"))
LIMIT_MS = 200.0
ROUNDS = 3
_SOME = {
    "job": "SELECT id FROM jobs WHERE state = 'dead' ORDER BY id LIMIT 1",
    "tenant": "SELECT tenant_id FROM jobs GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
    "import": "SELECT id FROM imports LIMIT 1",
    "delivery": "SELECT id FROM webhook_deliveries LIMIT 1",
    "schedule": "SELECT id FROM schedules LIMIT 1",
    "middle": "SELECT id FROM jobs ORDER BY id OFFSET (SELECT count(*) / 2 FROM jobs) LIMIT 1",
}


@dataclass(slots=True)
class Page:
    """What one took: milliseconds in the database, and pages of it that were touched."""

    name: str
    path: str
    ms: float = 0.0
    buffers: int = 0
    read: int = 0
    statements: int = 0
    slowest: str = ""
    plans: list[dict[str, Any]] = field(default_factory=list)


def run() -> Result:
    with LocalSystem(Path(".local/bench-console"), programs=("postgres",), say=print) as system:
        system.run_command("migrate")
        settings = Settings.of(system.settings)
        app = create_app(settings)
        fill(app.state.engine, JOBS)
        pages = measure(app, rounds=ROUNDS)
        app.state.engine.dispose()
    _print(pages)
    worst = max(pages, key=lambda page: page.ms)
    return Result(
        name="console",
        unit="pages/s, the slowest page",
        goal=1.0,
        baseline_is=f"{LIMIT_MS:.0f} ms a page",
        runs=[(1000 / worst.ms, 1000 / LIMIT_MS)],
        notes={
            "jobs": JOBS,
            "pages": {page.name: round(page.ms, 1) for page in pages},
            "broken": [page.name for page in pages if page.ms > LIMIT_MS],
        },
    )


def measure(app: Any, *, rounds: int = 1, planner: str = "") -> list[Page]:
    """Each page `rounds` times; the figures are those of the last, with what it needs in memory. `planner` is
    set for the plans alone.
    """
    engine: Engine = app.state.engine
    with engine.begin() as tx:
        _, key = create_operator_key(tx, name="bench", role=Role.ADMIN)
        some = {name: str(tx.execute(text(query)).scalar_one()) for name, query in _SOME.items()}
        some["incident"] = largest_incident(tx)
    pages = [Page(name, path.format(**some)) for name, path in PAGES.items()]
    asyncio.run(_visit(app, key, pages, rounds, planner))
    return pages


async def _visit(app: Any, key: str, pages: list[Page], rounds: int, planner: str) -> None:
    engine: Engine = app.state.engine
    transport, site = httpx.ASGITransport(app=app), "http://localhost:8000"
    async with httpx.AsyncClient(transport=transport, base_url=site, timeout=600) as client:
        entered = await client.post("/console/session", data={"key": key})
        assert entered.status_code == 303, entered.text
        for page in pages:
            with _noted(engine) as statements:
                answer = await client.get(page.path)
            assert answer.status_code == 200, (page.path, answer.status_code, answer.text[:500])
            for _ in range(rounds):
                _explain(engine, page, statements, planner)


PAGES = {
    "overview": "/console/overview",
    "jobs, the newest": "/console/jobs",
    "jobs, from the middle": "/console/jobs?before={middle}",
    "jobs of a kind": "/console/jobs?kind=webhook.deliver",
    "jobs of a kind that has none": "/console/jobs?kind=none",
    "jobs of a tenant": "/console/jobs?tenant={tenant}",
    "jobs of a tenant and kind": "/console/jobs?tenant={tenant}&kind=import.chunk&state=cancelled",
    "jobs that are dead": "/console/jobs?state=dead",
    "dead, of a kind that has none": "/console/jobs?state=dead&kind=none",
    "jobs that are scheduled": "/console/jobs?state=scheduled",
    "scheduled, of a kind that has none": "/console/jobs?state=scheduled&kind=none",
    "jobs that run": "/console/jobs?state=running",
    "jobs that were cancelled": "/console/jobs?state=cancelled",
    "jobs since a time": "/console/jobs?since=2020-01-01T00:00&state=succeeded",
    "jobs by a text that is nowhere": "/console/jobs?q=nowhere",
    "a tenant's, by a text that is nowhere": "/console/jobs?tenant={tenant}&q=nowhere",
    "jobs by an id": "/console/jobs?q={job}",
    "a job": "/console/jobs/{job}",
    "incidents": "/console/incidents",
    "the largest incident": "/console/incidents/{incident}",
    "dry run of its replay": "/console/incidents/{incident}/replay?rate=20",
    "dispatch": "/console/dispatch",
    "dispatch, one tenant": "/console/dispatch?tenant={tenant}",
    "schedules": "/console/schedules",
    "a schedule": "/console/schedules/{schedule}",
    "imports": "/console/import-log",
    "imports that failed": "/console/import-log?status=failed",
    "an import": "/console/import-log/{import}",
    "webhooks": "/console/webhooks",
    "webhooks that failed": "/console/webhooks?state=failed",
    "endpoints": "/console/webhooks/endpoints",
    "a delivery": "/console/webhooks/{delivery}",
    "mail": "/console/mail-log",
    "mail that was refused": "/console/mail-log?status=refused",
    "audit log": "/console/audit",
    "audit log of nobody": "/console/audit?actor=nobody",
    "audit log, no such action": "/console/audit?action=none",
    "access": "/console/access",
}


@contextmanager
def _noted(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that the block runs, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _explain(engine: Engine, page: Page, statements: list[tuple[str, Any]], planner: str) -> None:
    page.ms, page.buffers, page.read, page.statements = 0.0, 0, 0, len(statements)
    page.plans, slowest = [], 0.0
    with engine.connect() as tx:
        if planner:
            tx.exec_driver_sql(planner)
        for statement, parameters in statements:
            asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            (found,) = tx.exec_driver_sql(asked, parameters).scalar_one()
            took = found["Planning Time"] + found["Execution Time"]
            page.ms += took
            page.buffers += found["Plan"]["Shared Hit Blocks"]
            page.read += found["Plan"]["Shared Read Blocks"]
            page.plans.append(found["Plan"])
            if took > slowest:
                slowest, page.slowest = took, " ".join(statement.split())[:60]
        tx.rollback()


def _print(pages: list[Page]) -> None:
    table = Table("page", "ms in the database", "statements", "pages touched", "of these read")
    for page in pages:
        color = "red" if page.ms > LIMIT_MS else "green"
        table.add_row(
            page.name,
            f"[{color}]{page.ms:.1f}",
            str(page.statements),
            f"{page.buffers + page.read:,}",
            f"{page.read:,}",
        )
    Console().print(table)
    for page in pages:
        if page.ms > LIMIT_MS:
            print(page.name, page.slowest)
            if os.environ.get("BENCH_PLANS"):
                print(json.dumps(page.plans, indent=1))
