"""Starting many things at once, each as soon as what it needs is ready."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event

from infra.local.errors import StartCancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do once every step in `needs` is done; `needs` not in the plan count as done."""

    name: str
    run: Callable[[], None]
    needs: Sequence[str] = field(default_factory=tuple)


def run_steps(steps: Sequence[Step], cancelled: Event) -> None:
    """Run all steps, in parallel where their needs allow.

    The first failure sets `cancelled`, which every step is expected to watch, and is raised here
    when all threads have ended; so it is on KeyboardInterrupt.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, len(steps)), thread_name_prefix="start")
    running: dict[str, Future[None]] = {}
    try:
        for step in _in_order(steps):
            needed = [running[name] for name in step.needs if name in running]
            running[step.name] = pool.submit(_run_after, step, needed, cancelled)
        done, _ = wait(running.values(), return_when=FIRST_EXCEPTION)
        _raise_first(done)
    except BaseException:
        cancelled.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _run_after(step: Step, needed: Sequence[Future[None]], cancelled: Event) -> None:
    for future in needed:
        if future.exception() is not None:
            raise StartCancelled(f"{step.name}: given up")
    if cancelled.is_set():
        raise StartCancelled(f"{step.name}: given up")
    step.run()


def _raise_first(done: set[Future[None]]) -> None:
    """The cause rather than one of its consequences."""
    errors = [error for future in done if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, StartCancelled)):
        raise error


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """Needs before needers, so that every thread waits only for steps that have a thread."""
    by_name = {step.name: step for step in steps}
    ordered: dict[str, Step] = {}

    def place(step: Step) -> None:
        for name in step.needs:
            if name in by_name and name not in ordered:
                place(by_name[name])
        ordered[step.name] = step

    for step in steps:
        if step.name not in ordered:
            place(step)
    return list(ordered.values())
