"""What the console's pages cost is measured by `make bench NAME=console` on a million jobs; here on a few, so that
the measuring and every page's statements are known to work, and none needs to go through all jobs.
"""

from typing import Any

from sqlalchemy import Engine

from app.main import create_app
from app.settings import Settings
from bench.console import LIMIT_MS, PAGES, measure
from bench.console_fill import fill

JOBS = 3_000
LARGE = {"jobs", "job_history", "dead_letters", "mails", "webhook_deliveries", "audit_log"}
BY_INDEX = "SET LOCAL enable_seqscan = off"
"""Of so few rows the planner would read them all, index or not."""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def test_every_page_is_quick_and_has_an_index_for_what_it_reads(
    settings: Settings, engine: Engine
) -> None:
    fill(engine, JOBS)
    app = create_app(settings)
    try:
        pages = measure(app, planner=BY_INDEX)
    finally:
        app.state.engine.dispose()
    assert [page.name for page in pages] == list(PAGES)
    whole = {
        f"{page.name}: {node['Relation Name']}"
        for page in pages
        for plan in page.plans
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
    }
    assert whole == set()
    assert [page.name for page in pages if page.ms > LIMIT_MS] == []
