"""The lines between processes and servers, and an object store that answers 500 or very slowly."""

import time

from tests.chaos.journal import Blow
from tests.chaos.stage import Stage
from tests.chaos.timetable import Fault


def cut(stage: Stage, fault: Fault) -> Blow:
    return _disturb(stage, fault, "cut")


def delay(stage: Stage, fault: Fault) -> Blow:
    return _disturb(stage, fault, "delay", seconds=fault.figures["delay"])


def half_open(stage: Stage, fault: Fault) -> Blow:
    return _disturb(stage, fault, "half_open", direction=fault.way)


def store_errors(stage: Stage, fault: Fault) -> Blow:
    return _disturb(stage, fault, "http_500")


def store_slow(stage: Stage, fault: Fault) -> Blow:
    rate = fault.figures["bytes_per_second"]
    return _disturb(stage, fault, "slow", bytes_per_second=rate)


def _disturb(stage: Stage, fault: Fault, mode: str, **figures: float | str) -> Blow:
    began = time.time()
    with stage.links.disturbed(fault.target, mode, **figures):
        time.sleep(fault.figures["seconds"])
    return Blow(fault=fault, began=began, ended=time.time())
