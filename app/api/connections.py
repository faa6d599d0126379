"""Connections: contacts kept in step with other systems."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy import Connection

from app.api.bodies import BoundedRoute
from app.api.connection_view import (
    ConnectionChange,
    ConnectionRequest,
    ConnectionView,
    RunView,
    run_view_of,
    view_of,
)
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.jobs import respond
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, SettingsDep, Tx
from app.errors import NotFound
from app.outbound.breaker import CircuitState, circuit_state
from app.sync import connections, runs

router = APIRouter(prefix="/v1", tags=["connections"], route_class=BoundedRoute)


def _located(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    where = {"schema": {"type": "string"}, "description": "Where to look at it."}
    return {status: {"description": description, "headers": {"Location": where}}}


@router.post(
    "/connections",
    status_code=201,
    response_model=ConnectionView,
    responses={**_located(201, "Created."), **describe(400, 409, 413, 422)},
)
def create_connection(
    request: ConnectionRequest,
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Connect another system's account. Nothing is synchronised before `/sync`, or a schedule, says so. Where an operator
    has paused a connection to the same server there can be no other.
    """
    token = request.token.get_secret_value()
    hashed = request_hash({**request.model_dump(mode="json"), "token": token})

    def make() -> Answer:
        new = connections.NewConnection(**{**request.model_dump(), "token": token})
        made = connections.create(tx, tenant_id, new, settings)
        return Answer(
            request_hash=hashed,
            status=201,
            location=f"/v1/connections/{made}",
            body=_view(tx, tenant_id, made).model_dump(mode="json"),
        )

    return respond(
        answer_once(tx, tenant_id, "POST /v1/connections", idempotency_key, hashed, make)
    )


@router.get("/connections", responses=describe(400, 422))
def list_connections(
    tenant_id: CurrentTenant, tx: Tx, cursor: Cursor = None, limit: Limit = 50
) -> Page[ConnectionView]:
    """The tenant's connections, newest first."""
    found = connections.page(tx, tenant_id, before=decode_id_cursor(cursor), limit=limit + 1)
    shown = [view_of(each, _circuit(tx, tenant_id, each.id)) for each in found]
    return page_of(shown, lambda item: item.id, limit)


@router.get("/connections/{connection_id}", responses=describe(404, 422))
def get_connection(connection_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> ConnectionView:
    """One connection, with the state of its circuit breaker."""
    return _view(tx, tenant_id, connection_id)


@router.patch("/connections/{connection_id}", responses=describe(400, 404, 409, 413, 422))
def change_connection(
    connection_id: UUID,
    change: ConnectionChange,
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
) -> ConnectionView:
    """Change what is sent, leave the rest. A new token ends a pause, as does `"paused": false`; but only operators end
    a pause of theirs.
    """
    connections.edit(tx, tenant_id, connection_id, change.changes(), settings)
    return _view(tx, tenant_id, connection_id)


@router.delete("/connections/{connection_id}", status_code=204, responses=describe(404, 409, 422))
def delete_connection(connection_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> None:
    """Disconnect, unless an operator has paused it: forget the token, the runs, and which contacts belong together.
    Contacts stay.
    """
    connections.delete(tx, tenant_id, connection_id)


@router.post(
    "/connections/{connection_id}/sync",
    status_code=202,
    response_model=RunView,
    responses={**_located(202, "Accepted."), **describe(400, 404, 409, 413, 422)},
)
def sync_connection(
    connection_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Begin a run, or have the one that hasn't ended. On a schedule: the job `sync.run`."""
    operation = "POST /v1/connections/{id}/sync"
    hashed = request_hash(str(connection_id))

    def make() -> Answer:
        run = runs.start(tx, tenant_id, connection_id)
        return Answer(
            request_hash=hashed,
            status=202,
            location=f"/v1/connections/{connection_id}/runs/{run.id}",
            body=run_view_of(run).model_dump(mode="json"),
        )

    return respond(answer_once(tx, tenant_id, operation, idempotency_key, hashed, make))


@router.get("/connections/{connection_id}/runs", responses=describe(400, 404, 422))
def list_runs(
    connection_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[RunView]:
    """The connection's runs, newest first."""
    connections.load(tx, tenant_id, connection_id)
    found = runs.page(tx, connection_id, before=decode_id_cursor(cursor), limit=limit + 1)
    return page_of([run_view_of(each) for each in found], lambda item: item.id, limit)


@router.get("/connections/{connection_id}/runs/{run_id}", responses=describe(404, 422))
def get_run(connection_id: UUID, run_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> RunView:
    """One run, as far as it has come."""
    connections.load(tx, tenant_id, connection_id)
    run = runs.find(tx, connection_id, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id} of this connection.")
    return run_view_of(run)


def _view(tx: Connection, tenant_id: UUID, connection_id: UUID) -> ConnectionView:
    account = connections.load(tx, tenant_id, connection_id)
    return view_of(account, _circuit(tx, tenant_id, connection_id))


def _circuit(tx: Connection, tenant_id: UUID, connection_id: UUID) -> CircuitState | None:
    return circuit_state(tx, tenant_id, connections.scope_of(connection_id))
