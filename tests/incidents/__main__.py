"""`python -m tests.incidents [--only NAME,NAME] [--pictures FOLDER] [--keep]`

Starts the local system with a real Prometheus, makes each fault for real, and follows the runbooks. Exit status 0 when each
alert fired and cleared, 1 when one did not, 2 when the system can't be started. What it came to is in
`.local/incidents/result.json` and `table.md`.
"""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.local import LocalError
from infra.local.layout import ROOT
from infra.local.system import forget
from tests.incidents import jobs, servers  # noqa: F401 - they register the incidents
from tests.incidents.campaign import run_all
from tests.incidents.incident import INCIDENTS, Incident
from tests.incidents.report import table, write
from tests.incidents.screens import browser_page, photograph_alert
from tests.incidents.stage import Stage, staged

KEPT = ROOT / ".local" / "incidents"
THE_TEN = (
    *("a slow provider", "a poison job", "a stopped pool", "a flood by one tenant", "a full disk"),
    *("a wrong deploy that fails one kind", "a lost broker", "a slow query", "a leak"),
    "an expired credential",
)
ORDER = (*THE_TEN, *(name for name in INCIDENTS if name not in THE_TEN))

console = Console(highlight=False)


def main(words: list[str]) -> int:
    given = _given(words)
    KEPT.mkdir(parents=True, exist_ok=True)
    chosen = [INCIDENTS[name] for name in ORDER if not given.only or name in given.only.split(",")]
    home = KEPT / "home"
    forget(home)
    try:
        with ExitStack() as running:
            stage = running.enter_context(staged(home, say=console.print))
            page = running.enter_context(browser_page()) if given.pictures else None

            def photograph(one: Incident) -> str:
                if page is None:
                    return ""
                name = f"incident-{one.name.replace(' ', '-')}.png"
                photograph_alert(page, stage.watcher.url, one.alert, given.pictures / name)
                return name

            records = run_all(stage, chosen[::-1], say=console.print, photograph=photograph)
            queries, books = ask_all(stage), stage.books()
    except LocalError as error:
        console.print(f"incidents: {error}", markup=False)
        return 2
    records.reverse()  # the unusual ones came first
    write(records, KEPT, queries=queries, books=books)
    sys.stdout.write(table(records))
    sys.stdout.write(f"{json.dumps(books)}, {queries['asked']} queries\n")
    well = all(record.well for record in records) and not queries["wrong"] and not books["lost"]
    if well and not given.keep:
        forget(home)
    else:
        console.print(f"logs and data are kept in {home}", markup=False)
    return 0 if well else 1


def ask_all(stage: Stage) -> dict[str, Any]:
    """Every query of every dashboard, asked of the real server: which are wrong, and which answer nothing."""
    asked, wrong, empty = 0, [], []
    for path in sorted((ROOT / "infra" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "5m")
                query = query.replace("$queue", "low").replace("$kind", "report.daily")
                query = query.replace("$namespace", ".*")  # All
                asked += 1
                try:
                    answer = stage.watcher.query(query)
                except OSError as error:
                    wrong.append(f"{path.stem}: {panel['title']}: {error}")
                    continue
                if not answer:
                    empty.append(f"{path.stem}: {panel['title']}: {target['legendFormat']}")
    return {"asked": asked, "wrong": wrong, "empty": empty}


def _given(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make incidents", description=__doc__)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots")
    parser.add_argument("--keep", action="store_true", help="keep the logs and data in any case")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
