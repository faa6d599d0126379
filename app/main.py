"""The web process: the public API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.aftermath import AFTERMATHS
from app.api import (
    contacts,
    dead_letters,
    health,
    imports,
    job_operations,
    jobs,
    problems,
    schedules,
)
from app.db import make_engine
from app.jobs import CATALOG
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.logs import configure_logging
from app.settings import Settings, get_settings
from app.storage import make_storage


def create_app(
    settings: Settings | None = None,
    *,
    catalog: Catalog = CATALOG,
    aftermaths: Aftermaths = AFTERMATHS,
) -> FastAPI:
    """The application; nothing connects before the first request."""
    settings = settings or get_settings()
    configure_logging(settings)
    engine = make_engine(settings, pool_size=settings.db_pool_size, application_name="millrace-web")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = FastAPI(
        title="Millrace",
        version="1",
        description="Background work for SaaS. Every accepted request is done exactly once.",
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.state.catalog = catalog
    app.state.aftermaths = aftermaths
    app.state.settings = settings
    app.state.storage = make_storage(settings)
    app.state.draining = False
    problems.install(app)
    for module in (imports, contacts, jobs, job_operations, dead_letters, schedules, health):
        app.include_router(module.router)
    return app
