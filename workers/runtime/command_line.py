"""What `celery worker` is given, checked where it is read: a sentence and exit status 2.

Celery itself answers an `--autoscale` without numbers, and a queue that there isn't, with a traceback.
"""

from collections.abc import Collection
from typing import Any, NoReturn

import click
from celery.bin.worker import worker


class Children(click.ParamType[Any]):
    """Of an `--autoscale`; the most first, as Celery has it. What no pool can have, the autoscaler refuses."""

    name = "MAX,MIN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click's BadParameter."""
        numbers = value.split(",")
        try:
            found = sorted(map(int, numbers), reverse=True)
        except ValueError:
            self._refuse(value, param, ctx)
        if len(found) > 2:  # noqa: PLR2004 - as the message says
            self._refuse(value, param, ctx)
        return tuple(found) if len(found) == 2 else (found[0], 0)  # noqa: PLR2004

    def _refuse(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(
            f"{value!r} are no two numbers. Say --autoscale=MAX,MIN, such as --autoscale=8,2.",
            param,
            ctx,
        )


class Queues(click.ParamType[Any]):
    """Names with commas between them, of queues that there are."""

    name = "QUEUE,..."

    def __init__(self, known: Collection[str]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click's BadParameter."""
        names = [name.strip() for name in value.split(",")]
        for name in names:
            if name not in self._known:
                self.fail(f"There is no queue {name!r}: {', '.join(self._known)}.", param, ctx)
        return names


def install(queues: Collection[str]) -> None:
    """Have Celery's own command read its options so."""
    ours = {"autoscale": Children(), "queues": Queues(queues), "exclude_queues": Queues(queues)}
    for param in worker.params:
        if param.name in ours:
            param.type = ours[param.name]
