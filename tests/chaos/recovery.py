"""How long each fault was felt, read from the history afterwards.

What is measured depends on the fault: when the struck job ran again, when its part took work again, or
when the first attempt that began after the fault was settled. A fault that struck nothing gives no figure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from tests.chaos.history import History
from tests.chaos.journal import Blow, Journal

Measure = Callable[[History, Journal, Blow], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Seconds. `alone` is the maximum of those that struck an otherwise whole system, None for none."""

    measured: str
    samples: int
    median: float
    max: float
    alone: float | None


def recoveries(history: History, journal: Journal) -> dict[str, Recovery]:
    """By kind of fault, where there is anything to measure."""
    felt: dict[str, list[tuple[float, bool]]] = {}
    for blow in journal.blows:
        samples = [(one, blow.whole) for one in felt_for(history, journal, blow)]
        felt.setdefault(blow.fault.kind, []).extend(samples)
    return {kind: _summary(kind, samples) for kind, samples in sorted(felt.items()) if samples}


def felt_for(history: History, journal: Journal, blow: Blow) -> list[float]:
    """The seconds until what this fault struck was well again; several where it struck several jobs."""
    measured = _MEASURES.get(blow.fault.kind)
    return [] if measured is None else [round(s, 3) for s in measured[1](history, journal, blow)]


def _summary(kind: str, samples: Sequence[tuple[float, bool]]) -> Recovery:
    seconds = [one for one, _ in samples]
    return Recovery(
        measured=_MEASURES[kind][0],
        samples=len(samples),
        median=round(median(seconds), 2),
        max=round(max(seconds), 2),
        alone=max((round(one, 2) for one, whole in samples if whole), default=None),
    )


def _job_again(history: History, _: Journal, blow: Blow) -> list[float]:
    again = (history.again(job_id, blow.began) for job_id in blow.jobs)
    return [at - blow.began for at in again if at is not None]


def _message_again(history: History, _: Journal, blow: Blow) -> list[float]:
    again = (history.begun(job_id, after=blow.began) for job_id in blow.jobs)
    return [at - blow.began for at in again if at is not None]


def _worker_jobs_again(history: History, _: Journal, blow: Blow) -> list[float]:
    struck = history.running_at(blow.began, _node(blow))
    again = (history.again(job_id, blow.began) for job_id in struck)
    return [at - blow.began for at in again if at is not None]


def _worker_claims(history: History, _: Journal, blow: Blow) -> list[float]:
    return _since(blow, history.first({"claim"}, after=blow.ended, worker=_node(blow)))


def _accepted(history: History, journal: Journal, blow: Blow) -> list[float]:
    """The first request begun after the fault that this web process, or any, answered."""
    web = blow.fault.target if blow.fault.target.startswith("web-") else None
    answers = (
        accepted.answered
        for accepted in journal.accepted
        if accepted.asked > blow.ended and web in {None, accepted.web}
    )
    return _since(blow, min(answers, default=None))


def _dispatched(history: History, _: Journal, blow: Blow) -> list[float]:
    return _since(blow, history.first({"dispatch"}, after=blow.ended))


def _settled(history: History, _: Journal, blow: Blow) -> list[float]:
    return _since(blow, history.first_settled(begun_after=blow.ended))


def _of_the_part(history: History, journal: Journal, blow: Blow) -> list[float]:
    """By whose sessions or lines were struck."""
    target = blow.fault.target
    if "web" in target:
        return _accepted(history, journal, blow)
    if "dispatcher" in target:
        return _dispatched(history, journal, blow)
    return _settled(history, journal, blow)


def _collected(history: History, _: Journal, blow: Blow) -> list[float]:
    return [at - blow.ended for mark, at in history.collected if mark in blow.marks]


def _since(blow: Blow, at: float | None) -> list[float]:
    return [] if at is None else [max(0.0, at - blow.ended)]


def _node(blow: Blow) -> str:
    return f"{blow.fault.target}@chaos"


_AGAIN, _FLOW, _ACCEPTED = "job runs again", "work flows", "requests are accepted"
_MEASURES: Mapping[str, tuple[str, Measure]] = MappingProxyType(
    {
        "kill web": (_ACCEPTED, _accepted),
        "kill dispatcher": ("jobs are dispatched", _dispatched),
        "kill worker": (_AGAIN, _worker_jobs_again),
        "kill child": (_AGAIN, _job_again),
        "stop child": (_AGAIN, _job_again),
        "stop worker": ("it takes jobs again", _worker_claims),
        "stop dispatcher": ("jobs are dispatched", _dispatched),
        "restart rabbitmq": (_FLOW, _settled),
        "kill rabbitmq": (_FLOW, _settled),
        "close connections": (_FLOW, _settled),
        "restart postgres": (_FLOW, _settled),
        "kill postgres": (_FLOW, _settled),
        "terminate backends": (_FLOW, _of_the_part),
        "cut": (_FLOW, _of_the_part),
        "delay": (_FLOW, _of_the_part),
        "half-open": (_FLOW, _of_the_part),
        "lose messages": (_AGAIN, _message_again),
        "plant rubbish": ("in the dead letters", _collected),
        "s3 errors": (_FLOW, _of_the_part),
        "s3 slow": (_FLOW, _of_the_part),
    }
)
