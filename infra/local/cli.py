"""`millrace up`, `demo`, `down`: the whole system on this machine. `millrace new-job`: its next job."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from infra.local.demo import Guest, run_demo
from infra.local.developer import write_environment
from infra.local.errors import LocalError, ProgramFailed
from infra.local.layout import ROOT
from infra.local.system import LocalSystem, stop_running

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

HOME = ROOT / ".local"
# Beside `make up`, not in it: a demo neither disturbs what runs there nor adds to its data.
DEMO_HOME = HOME / "demo"


@app.command()
def up(home: Annotated[Path, typer.Option(help="Where everything is kept.")] = HOME) -> None:
    """Run the whole system until Ctrl-C."""
    with _reported(), _stoppable() as stopped:
        began = time.monotonic()
        console.print("starting ...")
        with LocalSystem(home, say=console.print) as system:
            environment = write_environment(system)
            _introduce(system, environment, time.monotonic() - began)
            system.watch(stopped)
            console.print("stopping ...")


@app.command()
def demo(
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 20_000,
    home: Annotated[Path, typer.Option(help="Where everything is kept.")] = DEMO_HOME,
) -> None:
    """Start the system, import a sample CSV, show what happened, stop everything."""
    with _reported(), _stoppable():
        began = time.monotonic()
        console.print(
            "starting PostgreSQL, RabbitMQ, S3, SMTP, web, dispatcher, workers, Flower ..."
        )
        guest = Guest()
        with LocalSystem(home, set_up=guest.steps, say=console.print) as system:
            console.print(f"ready after {time.monotonic() - began:.1f} s")
            run_demo(system, guest.tenant, console, rows=rows)
        console.print(f"\nall stopped; {time.monotonic() - began:.1f} s in total. Next: make up")


@app.command()
def down(home: Annotated[Path, typer.Option(help="Where everything is kept.")] = HOME) -> None:
    """Stop what runs in this checkout, and end what a crash left."""
    with _reported():
        ended = [name for one in (home, home / "demo") for name in stop_running(one)]
        console.print(f"ended: {', '.join(ended)}" if ended else "nothing was running")


_FieldOf = Annotated[
    list[str] | None,
    typer.Option(help="Of the payload, NAME:TYPE (uuid, str, int, bool, date); repeatable."),
]
_OneAtATime = Annotated[str | None, typer.Option(help="A field: of each value one job at a time.")]
_SoMany = Annotated[int, typer.Option(help="So many of them instead of one.")]
_InOrder = Annotated[
    bool, typer.Option("--in-order", help="These strictly in the order they were made.")
]
_Affinity = Annotated[
    bool, typer.Option("--affinity", help="On the worker that did the tenant's last one.")
]
_Unique = Annotated[str | None, typer.Option(help="A field: posts with one value are one job.")]
_UniqueFor = Annotated[float | None, typer.Option(help="Seconds; then a new one.")]
_UniqueUntil = Annotated[
    str | None, typer.Option(help="published (to a worker) or ended; then a new one.")
]
_Debounce = Annotated[
    float | None, typer.Option(help="Seconds after the newest post with the unique key.")
]
_DebounceMax = Annotated[float | None, typer.Option(help="Seconds after the first at most.")]


@app.command("new-job")
def new_job(
    name: Annotated[str, typer.Argument(help="Of the three files, such as send_welcome.")],
    kind: Annotated[str | None, typer.Option(help="Stored for good, such as mail.welcome.")] = None,
    queue: Annotated[str, typer.Option(help="high, default or low.")] = "default",
    field: _FieldOf = None,
    concurrency_key: _OneAtATime = None,
    concurrency_limit: _SoMany = 1,
    in_order: _InOrder = False,
    affinity: _Affinity = False,
    unique_key: _Unique = None,
    unique_for: _UniqueFor = None,
    unique_until: _UniqueUntil = None,
    debounce: _Debounce = None,
    debounce_max: _DebounceMax = None,
) -> None:
    """Write a job that works at once: contract, handler, test, their listings and its golden record."""
    from infra.local.new_job.keys import Keys
    from infra.local.new_job.order import make_order
    from infra.local.new_job.write import write_job

    with _reported():
        keys = Keys(
            concurrency_key=concurrency_key,
            concurrency_limit=concurrency_limit,
            in_order=in_order,
            affinity=affinity,
            unique_key=unique_key,
            unique_for=unique_for,
            unique_until=unique_until,
            debounce=debounce,
            debounce_max=debounce_max,
        )
        order = make_order(name, kind=kind, queue=queue, fields=field or [], keys=keys)
        paths = write_job(ROOT, order)
        for path in paths:
            console.print(f"wrote {path.relative_to(ROOT)}", markup=False)
        console.print(f"Next: make lint, .venv/bin/python -m pytest {paths[2].relative_to(ROOT)}")


def _introduce(system: LocalSystem, environment: Path, seconds: float) -> None:
    lines = {
        "console": f"{system.web_url}/console (sign in with API_KEY, or as an operator with OPERATOR_KEY, in {environment})",
        "API docs": f"{system.web_url}/docs",
        "Flower": system.flower_url,
        "mail": f"{system.layout.mail}/new",
        "logs": str(system.layout.log),
        "settings": f"set -a; . {environment}; set +a",
        "metrics": " ".join(system.product.metrics_urls),
    }
    console.print(f"ready after {seconds:.1f} s")
    for name, value in lines.items():
        console.print(f"  {name:<9} {value}", soft_wrap=True, markup=False)
    console.print("Ctrl-C stops everything.")


class _Stop(BaseException):
    """Raised in the main thread by SIGTERM or SIGHUP while something is under way."""


@contextmanager
def _stoppable() -> Iterator[Event]:
    """Ctrl-C, SIGTERM and SIGHUP end the block in order; a second one does not interrupt that."""
    stopped = Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        stopped.set()
        raise _Stop(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    yield stopped


@contextmanager
def _reported() -> Iterator[None]:
    """Errors of ours become one clear sentence, the log's last lines, and an exit status."""
    try:
        yield
    except _Stop as stop:
        number = int(stop.args[0])
        console.print("stopped")
        # Ctrl-C is how `up` is meant to end.
        sys.exit(0 if number == signal.SIGINT else 128 + number)
    except LocalError as error:
        if isinstance(error, ProgramFailed) and error.log_tail:
            errors.print(error.log_tail, style="dim", markup=False)
        errors.print(f"millrace: {error}", markup=False)
        sys.exit(error.exit_status)
