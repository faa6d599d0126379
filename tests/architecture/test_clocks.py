"""The database's clock is the one that counts: each process's own may be hours off, and be put right at any moment.

What is compared with a time in the database, or signed for others to compare, is asked of it; how long something takes
is measured by the monotonic clock.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}
ALLOWED = {
    "app/console/pages.py": "when the page was made, for who reads it",
    "app/doctor/outside.py": "how far off the clock is, is the question",
    "app/doctor/postgresql.py": "how far off the clock is, is the question",
    "app/housekeeping/chores.py": "a metric, which Prometheus compares with its own clock",
    "app/housekeeping/depths.py": "a metric, which Prometheus compares with its own clock",
    "app/traces/live.py": "whether a span hangs from another, or is linked to it",
    "workers/runtime/trail.py": "when a span began, as OpenTelemetry has it for all others",
}


def wall_clocks_in(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in WALL_CLOCKS:
                yield name
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (each.name for each in node.names if each.name.startswith("time"))


def test_nothing_is_decided_by_a_process_s_own_clock() -> None:
    found = {
        str(source.relative_to(ROOT))
        for folder in ("app", "workers")
        for source in (ROOT / folder).rglob("*.py")
        if any(wall_clocks_in(source))
    }
    assert found == set(ALLOWED)
