"""What a request gets: the engine, a transaction that commits at its end, and the tenant behind the key.

What only looks something up is `async`: the framework calls plain functions in a thread, each by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection, Engine

from app.api.browser import tenant_of_browser
from app.api.request_id import request_id
from app.api.upload_room import UploadRoom
from app.db import autocommit
from app.errors import Forbidden, Unauthenticated
from app.keys import KeyInForce, find_key, operator_of, tenant_of
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.operations.actor import Actor
from app.roles import Role
from app.settings import Settings
from app.storage import Storage
from app.traces import spans

bearer = HTTPBearer(auto_error=False, description="An API key: `millrace keys create TENANT`")


async def get_engine(request: Request) -> Engine:
    """The process's engine."""
    engine: Engine = request.app.state.engine
    return engine


async def get_storage(request: Request) -> Storage:
    """The object store."""
    storage: Storage = request.app.state.storage
    return storage


async def get_app_settings(request: Request) -> Settings:
    """The process's settings."""
    settings: Settings = request.app.state.settings
    return settings


async def get_catalog(request: Request) -> Catalog:
    """The kinds of jobs that there are."""
    catalog: Catalog = request.app.state.catalog
    return catalog


async def get_aftermaths(request: Request) -> Aftermaths:
    """What follows when a job of a kind ends."""
    aftermaths: Aftermaths = request.app.state.aftermaths
    return aftermaths


@dataclass(frozen=True, slots=True)
class Place:
    """Where files and what is known about them are kept, and the room for those on their way."""

    engine: Engine
    storage: Storage
    settings: Settings
    room: UploadRoom


async def get_place(request: Request) -> Place:
    """The process's."""
    state = request.app.state
    return Place(state.engine, state.storage, state.settings, state.upload_room)


EngineDep = Annotated[Engine, Depends(get_engine)]
StorageDep = Annotated[Storage, Depends(get_storage)]
SettingsDep = Annotated[Settings, Depends(get_app_settings)]
CatalogDep = Annotated[Catalog, Depends(get_catalog)]
AftermathsDep = Annotated[Aftermaths, Depends(get_aftermaths)]
PlaceDep = Annotated[Place, Depends(get_place)]


def transaction(engine: EngineDep) -> Iterator[Connection]:
    """One request, one transaction: committed when the route returns, before the answer is sent."""
    with engine.begin() as connection:
        yield connection


Tx = Annotated[Connection, Depends(transaction, scope="function")]


def current_tenant(
    request: Request,
    engine: EngineDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> UUID:
    """The tenant that the request's key, or the console's session, belongs to. Raises Unauthenticated;
    Forbidden for a change that a session asks for without its CSRF token.
    """
    if credentials is None:
        return tenant_of_browser(request, engine)
    with autocommit(engine) as connection:
        tenant = tenant_behind(find_key(connection, credentials.credentials))
    spans.note({"millrace.tenant.id": str(tenant)})
    return tenant


def tenant_behind(key: KeyInForce | None) -> UUID:
    """The tenant of a tenant's key in force. Raises Unauthenticated, and Forbidden for an operator's."""
    if key is None:
        raise Unauthenticated("The API key is unknown or revoked. Use one that is in force.")
    if key.role is not Role.TENANT:
        raise Forbidden("This is an operator's key, and no tenant's. Use a key of the tenant.")
    return key.tenant_id


CurrentTenant = Annotated[UUID, Depends(current_tenant)]


def current_operator(
    request: Request,
    engine: EngineDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Actor:
    """Who runs the product and calls with a key of that; what the role allows is the operation's to say.
    Raises Unauthenticated without one that is in force, and Forbidden for a tenant's.
    """
    if credentials is None:
        raise Unauthenticated("Send an operator's key: 'Authorization: Bearer <key>'.")
    with engine.connect() as connection:
        operator = operator_of(connection, credentials.credentials)
        known = operator or tenant_of(connection, credentials.credentials)
    if operator is not None:
        return Actor.with_key(operator, request_id(request))
    if known:
        raise Forbidden(
            "This is for operators. Use a key made by: millrace keys create --role operator"
        )
    raise Unauthenticated("The API key is unknown or revoked. Use one that is in force.")


CurrentOperator = Annotated[Actor, Depends(current_operator)]


def reader(
    request: Request,
    engine: EngineDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> UUID | None:
    """The tenant whose figures are asked for; None, which is everybody's, for an operator's key."""
    if credentials is not None:
        with engine.connect() as connection:
            if operator_of(connection, credentials.credentials) is not None:
                return None
    return current_tenant(request, engine, credentials)


Reader = Annotated[UUID | None, Depends(reader)]
