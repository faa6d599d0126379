"""Is the process alive, and are its servers there."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Engine

from app.api.problems import RETRY_AFTER_SECONDS
from app.db import reach
from app.health import OK, Probe, all_ok
from app.storage import Storage

router = APIRouter(tags=["health"])


def checks_of(engine: Engine, storage: Storage) -> dict[str, Probe]:
    """Who asks the servers that the web needs."""
    return {"database": Probe(lambda: reach(engine)), "storage": Probe(storage.check)}


class Health(BaseModel):
    """`status` is "ok", "degraded", "draining" or "unavailable"; `checks` says what of."""

    status: str
    checks: dict[str, str] = {}


@router.get("/livez", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Health:
    """Liveness: the process answers. It asks nothing of any server, so none can restart it."""
    return Health(status=OK)


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(request: Request, response: Response) -> Health:
    """Readiness: the database answers and takes writes, and the process isn't about to stop.

    Without the object store it is ready all the same, but "degraded": uploads are refused, all else works. The broker isn't
    asked: the API goes on without it. A server that doesn't answer in two seconds isn't there.
    """
    if request.app.state.draining:
        _not_ready(response)
        return Health(status="draining")

    checks = {name: ask() for name, ask in request.app.state.checks.items()}
    if checks["database"] == OK:
        return Health(status=OK if all_ok(checks) else "degraded", checks=checks)
    _not_ready(response)
    return Health(status="unavailable", checks=checks)


def _not_ready(response: Response) -> None:
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
