"""`python -m tests.chaos [--seed 1] [--jobs 10000] [--faults 300] [--break fence|confirm|ack|rescue]`

Exit status 0 when every promise was kept, 1 when one was broken, 2 when the system can't be started. The
last line of the output is the result as JSON, which is also kept in `.local/chaos/seed-N.json`; beside it is a line for each fault.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from infra.local import LocalError
from infra.local.layout import ROOT
from infra.local.system import forget
from tests.chaos.breaks import PROMISES
from tests.chaos.campaign import Plan, Progress, run
from tests.chaos.report import details, show

KEPT = ROOT / ".local" / "chaos"
SMALL_FAULTS = 30
"""Below this many faults the dear ones are left out."""
MOST_FAULTS = 300
LEAST_FAULTS = 20
_LINE_SECONDS = 15.0

console = Console(highlight=False)


def main(words: list[str]) -> int:
    plan, keep = _plan(words)
    home = KEPT / f"home-{plan.seed}{plan.breaking}"
    try:
        forget(home)
        with _shown() as shown:
            result = run(plan, home, say=console.print, show=shown)
    except LocalError as error:
        console.print(f"chaos: {error}", markup=False)
        return 2
    show(result, console)
    line = result.as_line()
    name = f"seed-{plan.seed}{plan.breaking}"
    (KEPT / f"{name}.json").write_text(line + "\n")
    (KEPT / f"{name}.faults.jsonl").write_text(details(result))
    if result.kept and not keep:
        forget(home)
    else:
        console.print(f"logs and data are kept in {home}", markup=False)
    sys.stdout.write(line + "\n")
    return 0 if result.kept else 1


def _plan(words: list[str]) -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--faults", type=int, help="as a rule three for a hundred jobs")
    parser.add_argument("--keep", action="store_true", help="keep the logs and data in any case")
    parser.add_argument("--break", dest="breaking", choices=["", *PROMISES], default="")
    given = parser.parse_args(words)
    faults = given.faults
    if faults is None:
        faults = max(LEAST_FAULTS, min(MOST_FAULTS, given.jobs * 3 // 100))
    plan = Plan(
        seed=given.seed,
        jobs=given.jobs,
        faults=faults,
        small=faults < SMALL_FAULTS,
        breaking=given.breaking,
    )
    return plan, given.keep


@contextmanager
def _shown() -> Iterator["Shown"]:
    """Two bars on a terminal; elsewhere a line now and then."""
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:
        yield Two(bars)


class Lines:
    """For a log."""

    def __init__(self) -> None:
        self._last = 0.0
        self._phase = ""

    def __call__(self, now: Progress) -> None:
        if now.phase != self._phase or time.monotonic() - self._last >= _LINE_SECONDS:
            self._phase, self._last = now.phase, time.monotonic()
            console.print(
                f"{now.seconds:5.0f} s  {now.phase}: {now.posted:,} of {now.orders:,} orders posted,"
                f" {now.struck} of {now.faults} faults struck"
            )


class Two:
    """For a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._orders = bars.add_task("orders")
        self._faults = bars.add_task("faults")

    def __call__(self, now: Progress) -> None:
        self._bars.update(self._orders, total=now.orders, completed=now.posted)
        self._bars.update(
            self._faults, total=now.faults, completed=now.struck, description=now.phase
        )


Shown = Lines | Two

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
