"""Jobs of all tenants: found, and looked at from their making to their end."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from app.api.job_view import HistoryEntry, JobDetail, load_job
from app.api.session import CatalogDep, Tx
from app.console.visit import ConsoleRoute, Reading, Visit, an_id, read_time
from app.errors import NotFound, Unprocessable
from app.ids import made_at
from app.keys import find_tenant
from app.ledger.cancel import missing
from app.ledger.contract import Catalog
from app.ledger.life import effects_of, inside, letters_of, newest_children
from app.ledger.rules import Rule, load_rules
from app.ledger.search import Answer, Wanted, find_id, search
from app.ledger.state import OPEN, State

router = APIRouter(prefix="/jobs", route_class=ConsoleRoute)

SHOWN = 50
MAX_HISTORY = 300
"""So many of the newest lines of a job's history are shown."""
OF_DATA = ("unique_key", "message")

Words = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The search form as it was sent."""

    kind: str
    state: str
    tenant: str
    since: str
    until: str
    q: str

    def link(self, **more: object) -> str:
        """The address of this search."""
        words = {name: value for name, value in {**asdict(self), **more}.items() if value}
        return f"/console/jobs?{urlencode(words)}"


@router.get("")
def jobs_page(
    visit: Reading,
    tx: Tx,
    catalog: CatalogDep,
    kind: Words = "",
    state: Words = "",
    tenant: Words = "",
    since: Words = "",
    until: Words = "",
    q: Words = "",
    before: Words = "",
) -> Response:
    """Search by kind, state, tenant, time and text, the newest first."""
    asked = Asked(
        kind=kind, state=state, tenant=tenant.strip(), since=since, until=until, q=q.strip()
    )
    problem, answer = "", Answer(jobs=[], next_before=None, complete=True)
    try:
        answer = _find(visit, tx, asked, before)
    except (NotFound, Unprocessable) as wrong:
        problem = str(wrong)
    return visit.page(
        "jobs.html",
        tx,
        asked=asked,
        problem=problem,
        kinds=sorted(catalog),
        states=list(State),
        jobs=[visit.veil(asdict(job), *OF_DATA) for job in answer.jobs],
        answer=answer,
        more=asked.link(before=answer.next_before) if answer.next_before else None,
        reached=None
        if answer.next_before is None
        else datetime.fromtimestamp(made_at(answer.next_before), UTC),
        first=not before,
    )


@router.get("/{job_id}")
def job_page(job_id: str, visit: Reading, tx: Tx, catalog: CatalogDep) -> Response:
    """Everything about one."""
    return visit.page("job.html", tx, **_life(visit, tx, an_id(job_id, "job"), catalog))


def _find(visit: Visit, tx: Connection, asked: Asked, before: str) -> Answer:
    """Raises NotFound and Unprocessable, with a sentence for whoever asked."""
    identity = _identity(asked.q)
    if identity is not None:
        return Answer(jobs=find_id(tx, identity, limit=SHOWN), next_before=None, complete=True)
    if asked.q and not visit.sees_data:
        raise Unprocessable(
            "Viewers search by ids: of a job, its parent or its batch. Keys and errors may hold what "
            "customers sent."
        )
    wanted = Wanted(
        kind=asked.kind or None,
        state=State(asked.state) if asked.state in set(State) else None,
        tenant_id=find_tenant(tx, asked.tenant) if asked.tenant else None,
        since=read_time(asked.since),
        until=read_time(asked.until),
        words=asked.q or None,
    )
    return search(tx, wanted, before=_identity(before), limit=SHOWN)


def _life(visit: Visit, tx: Connection, job_id: UUID, catalog: Catalog) -> dict[str, Any]:
    job = load_job(tx, None, job_id)
    within = inside(tx, job_id)
    if within is None:
        raise missing(job_id)
    lines = job.history[-MAX_HISTORY:]
    contract = catalog.get(job.kind)
    return {
        "job": job,
        "unique_key": visit.hide(job.unique_key),
        "concurrency_key": visit.hide(job.concurrency_key),
        "error": visit.error(within.error),
        "within": visit.veil(asdict(within), "payload", "checkpoint", "error"),
        "trace": _trace(visit, job.trace_id),
        "lines": [_line(visit, line, at) for line, at in zip(lines, _since(lines), strict=True)],
        "left_out": len(job.history) - len(lines),
        "children": newest_children(tx, job_id),
        "letters": letters_of(tx, job_id),
        "effects": effects_of(tx, job_id),
        "is_open": job.state in OPEN,
        "held_by": _held_by(tx, job, within.tenant_id),
        "can_retry": job.state in {State.DEAD, State.SCHEDULED},
        "newest_version": contract and contract.spec.version,
    }


def _held_by(tx: Connection, job: JobDetail, tenant_id: UUID) -> list[Rule]:
    """The pauses that keep it from being sent."""
    if job.state not in {State.WAITING, State.SCHEDULED}:
        return []
    return load_rules(tx).holding(queue=job.queue.value, kind=job.kind, tenant_id=tenant_id)


def _trace(visit: Visit, trace_id: str | None) -> str | None:
    """Where the job's trace is looked at, if it has one and there is such a place."""
    where: str | None = visit.request.app.state.settings.trace_url
    return where.replace("{trace_id}", trace_id) if where and trace_id else None


def _line(visit: Visit, line: HistoryEntry, since: timedelta | None) -> dict[str, Any]:
    error = None if line.error is None else visit.error(line.error.model_dump())
    return {**line.model_dump(exclude={"error"}), "error": error, "since": since}


def _since(lines: list[HistoryEntry]) -> list[timedelta | None]:
    """How long after the line before each came."""
    times = [line.at for line in lines]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return [None, *gaps][: len(lines)]


def _identity(words: str) -> UUID | None:
    try:
        return UUID(words)
    except ValueError:
        return None
