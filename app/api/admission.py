"""Backpressure: whether new work is accepted, by what waits already. What the product enqueues by itself,
children and schedules, is never refused here.
"""

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request
from sqlalchemy import Connection

from app.api.session import CurrentTenant, EngineDep, SettingsDep
from app.db import autocommit
from app.errors import Overloaded, TooManyRequests
from app.ledger.backlog import ALL_TENANTS, Depth, depths
from app.settings import Settings

RETRY_TENANT_SECONDS = 10
RETRY_ALL_SECONDS = 30
_NO_NEW_WORK = ("/cancel", "/preview")


def admit(
    request: Request, tenant_id: CurrentTenant, engine: EngineDep, settings: SettingsDep
) -> None:
    """Let a POST pass that begins work. Raises TooManyRequests when the tenant has too much waiting, and
    Overloaded when all together have, or when it waits for too long.

    By figures that are a few seconds old: what is accepted meanwhile is accepted.
    """
    if request.method != "POST" or request.url.path.endswith(_NO_NEW_WORK):
        return
    with autocommit(engine) as tx:
        check_backlog(tx, tenant_id, settings)


def check_backlog(tx: Connection, tenant_id: UUID, settings: Settings) -> None:
    """See `admit`."""
    check_depths(depths(tx, tenant_id, ALL_TENANTS), tenant_id, settings)


def check_depths(found: Sequence[Depth], tenant_id: UUID, settings: Settings) -> None:
    """See `admit`; `found` are the tenant's figures and ALL_TENANTS', maybe others' too."""
    own = [depth for depth in found if depth.tenant_id == tenant_id]
    every = [depth for depth in found if depth.tenant_id == ALL_TENANTS]
    if _jobs(own) >= settings.backlog_tenant_max:
        raise TooManyRequests(
            f"{_jobs(own):,} of your jobs are waiting; at {settings.backlog_tenant_max:,} no more are "
            "accepted. Try again when some are done.",
            code="backlog_full",
            retry_after=RETRY_TENANT_SECONDS,
        )
    lag = max((depth.lag_seconds or 0.0 for depth in every), default=0.0)
    slow = settings.backlog_max_lag_seconds is not None and lag > settings.backlog_max_lag_seconds
    if slow or _jobs(every) >= settings.backlog_max:
        raise Overloaded(
            "More work is waiting than can be done in time. Try again later.",
            retry_after=RETRY_ALL_SECONDS,
        )


def _jobs(found: list[Depth]) -> int:
    return sum(depth.ready + depth.later for depth in found)
