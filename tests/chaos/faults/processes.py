"""Processes that are killed, and processes that stand still for longer than a lease and come back."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import psutil

from tests.chaos import busy
from tests.chaos.journal import Blow
from tests.chaos.stage import Stage
from tests.chaos.timetable import Fault

BACK_SECONDS = 60.0
_BUSY_SECONDS = 4.0
_LOOK_SECONDS = 0.002
"""Most jobs take milliseconds."""


class NothingToStrike(Exception):
    """The victim isn't there, or does nothing: try again."""


def kill(stage: Stage, fault: Fault) -> Blow:
    """kill -9 of a main process, without its children: those end by themselves, or should."""
    began = time.time()
    old = stage.system.kill_program(fault.target, group=False)
    stage.system.wait_ready(fault.target, not_pid=old, seconds=BACK_SECONDS)
    return Blow(fault=fault, began=began, ended=began)


def kill_child(stage: Stage, fault: Fault) -> Blow:
    """kill -9 of a worker's child in the middle of a job."""
    with _busy_child_held(stage, fault.target) as (pid, job_id):
        began = time.time()
        _signal(pid, signal.SIGKILL)
    return Blow(fault=fault, began=began, ended=began, jobs=(job_id,))


def stop_child(stage: Stage, fault: Fault) -> Blow:
    """A worker's child stands still in the middle of a job, and comes back as a zombie."""
    with _busy_child_held(stage, fault.target) as (_, job_id):
        began = time.time()
        time.sleep(fault.figures["seconds"])
    return Blow(fault=fault, began=began, ended=time.time(), jobs=(job_id,))


def stop(stage: Stage, fault: Fault) -> Blow:
    """A main process stands still, and comes back."""
    pid = stage.system.pid(fault.target)
    if pid is None:
        raise NothingToStrike(f"{fault.target} isn't running")
    began = time.time()
    with _standing_still(pid):
        time.sleep(fault.figures["seconds"])
    return Blow(fault=fault, began=began, ended=time.time())


def put_clock_off(stage: Stage, fault: Fault) -> Blow:
    """One process's clock is off by minutes for a while, and put right again."""
    began = time.time()
    stage.set_clock(fault.target, int(fault.figures["offset"]))
    try:
        time.sleep(fault.figures["seconds"])
    finally:
        stage.set_clock(fault.target, 0)
    return Blow(fault=fault, began=began, ended=time.time())


@contextmanager
def _busy_child_held(stage: Stage, name: str) -> Iterator[tuple[int, UUID]]:
    """A child of the worker in the middle of a job, standing still, and the job. Raises NothingToStrike."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while time.monotonic() < deadline:
        pid, job_id = _busy_child(stage, name, deadline)
        with _standing_still(pid):
            if busy.job_of(stage.busy, pid) == job_id:  # and it can't end now
                yield pid, job_id
                return
    raise NothingToStrike(f"no child of {name} does anything for long enough")


def _busy_child(stage: Stage, name: str, deadline: float) -> tuple[int, UUID]:
    main = stage.system.pid(name)
    if main is None:
        raise NothingToStrike(f"{name} isn't running")
    try:
        children = [child.pid for child in psutil.Process(main).children()]
    except psutil.Error as gone:
        raise NothingToStrike(f"{name} is gone") from gone
    while time.monotonic() < deadline:
        for pid in children:
            job_id = busy.job_of(stage.busy, pid)
            if job_id is not None:
                return pid, job_id
        time.sleep(_LOOK_SECONDS)
    raise NothingToStrike(f"no child of {name} does anything")


@contextmanager
def _standing_still(pid: int) -> Iterator[None]:
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(NothingToStrike):  # it was killed meanwhile, as its parent was
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError as gone:
        raise NothingToStrike(f"process {pid} is gone") from gone
