"""What an incident is: a fault that is made, the alert that should fire, the runbook that should end it."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from tests.incidents.stage import Stage

Course = Generator[None, None, None]
"""Runs up to its first yield to make the fault, to the second to end it by the runbook, then to its end to tidy up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """`also` are other alerts that the same fault is known to raise, with their labels."""

    name: str
    fault: str
    page: str
    alert: str
    labels: Mapping[str, str]
    also: tuple[tuple[str, Mapping[str, str]], ...]
    course: Callable[[Stage], Course]

    @property
    def awaited(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        return ((self.alert, self.labels), *self.also)


INCIDENTS: dict[str, Incident] = {}


def incident(
    name: str,
    *,
    page: str,
    alert: str,
    also: tuple[tuple[str, Mapping[str, str]], ...] = (),
    **labels: str,
) -> Callable[[Callable[[Stage], Course]], Callable[[Stage], Course]]:
    """Register the decorated course; the first line of its docstring says what is done."""

    def register(course: Callable[[Stage], Course]) -> Callable[[Stage], Course]:
        fault = (course.__doc__ or "").strip().splitlines()[0]
        INCIDENTS[name] = Incident(
            name=name, fault=fault, page=page, alert=alert, labels=labels, also=also, course=course
        )
        return course

    return register
