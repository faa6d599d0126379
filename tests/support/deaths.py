"""Jobs that tenants may post, and jobs that died of a known cause."""

from types import MappingProxyType
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Engine, text

from app.jobs import CATALOG
from app.ledger import store
from app.ledger.burial import record_death
from app.ledger.contract import Catalog, JobContract, JobSpec, Upcast
from app.ledger.state import Event
from tests.support.jobs import LazyNote, Note, UrgentNote, running


class Greeting(JobContract):
    """Public. Version 1 called the name `who`."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.greeting", version=2, public=True)
    upcasts: ClassVar[MappingProxyType[int, Upcast]] = MappingProxyType(
        {1: lambda facts: {"name": facts["who"]}}
    )

    name: str
    times: Annotated[int, Field(ge=1, le=9)] = 1


TEST_CATALOG: Catalog = {
    **CATALOG,
    **{each.spec.kind: each for each in (Greeting, Note, UrgentNote, LazyNote)},
}


def dead(
    engine: Engine,
    tenant_id: UUID,
    job: JobContract,
    message: str = "It is broken.",
    *,
    code: str = "broken",
    frame: str = "app.place:act",
) -> UUID:
    """A job that died in its first attempt."""
    claimed = running(engine, tenant_id, job)
    die(engine, claimed, message, code=code, frame=frame)
    return claimed.id


def die(
    engine: Engine,
    claimed: store.Claimed,
    message: str = "It is broken.",
    *,
    code: str = "broken",
    frame: str = "app.place:act",
) -> None:
    """The end of its attempt."""
    error = {
        "code": code,
        "message": message,
        "type": "KeyError",
        "frame": frame,
        "traceback": "Traceback: secret internals",
    }
    with engine.begin() as tx:
        store.settle(tx, claimed, Event.DIE, error=error)
        record_death(tx, claimed.id, claimed.kind, error)


def rewrite(engine: Engine, job_id: UUID, *, version: int, payload: str) -> None:
    """As an older release left the job."""
    query = "UPDATE jobs SET version = :version, payload = CAST(:payload AS jsonb) WHERE id = :id"
    with engine.begin() as tx:
        tx.execute(text(query), {"id": job_id, "version": version, "payload": payload})


def letter_of(engine: Engine, job_id: UUID) -> dict[str, Any]:
    """The job's newest dead letter."""
    query = text("SELECT * FROM dead_letters WHERE job_id = :id ORDER BY id DESC LIMIT 1")
    with engine.connect() as tx:
        return dict(tx.execute(query, {"id": job_id}).one()._mapping)


def incident_of(engine: Engine, job_id: UUID) -> dict[str, Any]:
    """The incident of that letter."""
    query = text("SELECT * FROM incidents WHERE id = :id")
    with engine.connect() as tx:
        incident_id = letter_of(engine, job_id)["incident_id"]
        return dict(tx.execute(query, {"id": incident_id}).one()._mapping)
