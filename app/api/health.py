"""Is the process alive, and are its servers there."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import text

from app.api.session import EngineDep, StorageDep

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`status` is "ok", "draining" or "unavailable"; `checks` says what of."""

    status: str
    checks: dict[str, str] = {}


@router.get("/healthz")
async def healthz() -> Health:
    """Liveness: the process answers. It asks nothing of any server, so none can restart it."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(request: Request, engine: EngineDep, storage: StorageDep, response: Response) -> Health:
    """Readiness: database and object store answer, and the process isn't about to stop.

    The broker isn't asked: uploads go on without it.
    """
    if request.app.state.draining:
        response.status_code = 503
        return Health(status="draining")

    def database() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    checks = {"database": _check(database), "storage": _check(storage.check)}
    if all(answer == "ok" for answer in checks.values()):
        return Health(status="ok", checks=checks)
    response.status_code = 503
    return Health(status="unavailable", checks=checks)


def _check(ask: Callable[[], None]) -> str:
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - whatever it is, the server isn't ready
        return type(error).__name__
    return "ok"
