"""The web process: the public API, and the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from sqlalchemy import Engine

from app.aftermath import AFTERMATHS
from app.api import (
    ai,
    batches,
    connections,
    contacts,
    dead_letters,
    documents,
    exports,
    files,
    health,
    import_actions,
    import_events,
    import_files,
    import_preview,
    imports,
    job_operations,
    job_posts,
    jobs,
    mails,
    metrics,
    payment_webhooks,
    problems,
    products,
    queues,
    schedules,
    subscription,
    targets,
    tenants,
    uploads,
    webhook_deliveries,
    webhook_endpoints,
)
from app.api.admission import admit
from app.api.http_metrics import HttpMetrics
from app.api.live import LiveFeed
from app.api.upload_room import UploadRoom
from app.console import unsubscribe
from app.console.overview import POLL_SECONDS, console_snapshot
from app.console.router import router as console
from app.db import close, make_engine
from app.imports.lifecycle import PROGRESS_CHANNEL
from app.jobs import CATALOG
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.logs import configure_logging
from app.settings import Settings, get_settings
from app.storage import make_storage
from app.traces import spans

ROUTES = (
    job_posts,
    imports,
    import_preview,
    import_actions,
    import_events,
    import_files,
    uploads,
    files,
    targets,
    contacts,
    products,
    connections,
    jobs,
    job_operations,
    batches,
    queues,
    dead_letters,
    schedules,
    mails,
    payment_webhooks,
    subscription,
    webhook_endpoints,
    webhook_deliveries,
    exports,
    documents,
    ai,
    tenants,
    health,
    metrics,
)
"""They are asked one after the other whether a request is theirs: first what is asked for most."""

BEGIN_WORK = (imports, import_actions, import_preview, uploads, files, exports, documents)
"""What a POST to these begins is refused while too much is waiting; job_posts asks by itself."""

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""FastAPI's own puts paths and queries into its spans, and ours hold tokens: docs/decisions/0028-traces.md."""


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
        spans.begin(settings, "millrace-web")
        yield
        await app.state.import_feed.close()
        await app.state.console_feed.close()
        close(engine)
        spans.end()

    app = FastAPI(
        title="Millrace",
        version="1",
        description="Background work for SaaS. Every accepted request is done exactly once.",
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
    )
    app.state.engine = engine
    app.state.catalog = catalog
    app.state.aftermaths = aftermaths
    app.state.settings = settings
    app.state.job_posts = job_posts.JobPosts(engine, settings, catalog)
    app.state.storage = make_storage(settings)
    app.state.upload_room = UploadRoom(settings.uploads_at_once)
    app.state.checks = health.checks_of(engine, app.state.storage)
    app.state.draining = False
    _feed(app, settings, engine)
    _watch(app, settings)
    problems.install(app)
    for module in ROUTES:
        if module in BEGIN_WORK:
            app.include_router(
                module.router, dependencies=[Depends(admit)], responses=problems.describe(429, 503)
            )
        else:
            app.include_router(module.router)
    app.include_router(console)
    app.include_router(unsubscribe.router)
    return app


def _watch(app: FastAPI, settings: Settings) -> None:
    app.add_middleware(HttpMetrics)
    if settings.otlp_endpoint is not None:
        from app.api.http_traces import HttpTraces

        app.add_middleware(HttpTraces)


def _feed(app: FastAPI, settings: Settings, engine: Engine) -> None:
    """What browsers follow: imports, and the operators' overview and jobs."""
    app.state.import_feed = LiveFeed(
        settings,
        PROGRESS_CHANNEL,
        partial(import_events.import_snapshot, engine),
        draining=lambda: bool(app.state.draining),
    )
    app.state.console_feed = LiveFeed(
        settings,
        None,
        partial(console_snapshot, engine),
        draining=lambda: bool(app.state.draining),
        poll_seconds=POLL_SECONDS,
    )
