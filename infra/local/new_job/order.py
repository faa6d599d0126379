"""What is to be written: a name, a kind, a queue, the payload's fields and keys of them, all checked."""

import keyword
import re
from dataclasses import dataclass, field

from pydantic import BaseModel

from app.broker.topology import Queue
from infra.local.errors import BadOrder
from infra.local.new_job.keys import Keys

LIMITS = {Queue.HIGH: (30, 45), Queue.DEFAULT: (60, 90), Queue.LOW: (120, 150)}
"""Soft and hard, in seconds."""
TRIES = 5

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_EMPTY = frozenset({"util", "utils", "common", "helper", "helpers", "misc", "conftest", "test"})
_IMPORTED = frozenset(
    {
        *(
            "Concurrency",
            "Debounce",
            "JobContract",
            "JobSpec",
            "NewJob",
            "Queue",
            "RetryPolicy",
            "UniqueUntil",
        ),
        *("Context", "Done", "Outcome", "Customer", "Disposition", "Engine", "Enqueued", "Worker"),
    }
)
"""Classes that the contract, the handler or the test names."""
_MAX_CHARS = 40


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a type is written in a contract, which import it needs there, and a value for the test."""

    annotation: str
    needs: str | None
    value: str
    value_needs: str | None


TYPES = {
    "uuid": FieldType("UUID", "from uuid import UUID", "new_id()", "from app.ids import new_id"),
    "str": FieldType("str", None, '"text"', None),
    "int": FieldType("int", None, "1", None),
    "bool": FieldType("bool", None, "True", None),
    "date": FieldType(
        "date", "from datetime import date", "date(2026, 5, 1)", "from datetime import date"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to write. `name` is the stem of its three files; fields are (name, type)."""

    name: str
    kind: str
    queue: Queue
    fields: tuple[tuple[str, FieldType], ...] = ()
    keys: Keys = field(default_factory=Keys)

    @property
    def class_name(self) -> str:
        """The contract's."""
        return "".join(word.capitalize() for word in self.name.split("_"))


def make_order(
    name: str, *, kind: str | None, queue: str, fields: list[str], keys: Keys | None = None
) -> Order:
    """Raises BadOrder for a name, kind, queue, field or key that won't do."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_CHARS:
        raise BadOrder(f"{name!r} is no name for a job. Use words like {_snake(name)}.")
    if keyword.iskeyword(name) or name in _EMPTY:
        raise BadOrder(f"{name!r} says nothing about the job, or means something to Python.")
    if queue not in set(Queue):
        raise BadOrder(f"There is no queue {queue!r}. Use one of {', '.join(Queue)}.")
    order = Order(
        name=name,
        kind=_checked_kind(name, kind),
        queue=Queue(queue),
        fields=tuple(_field(words) for words in _each_once(fields)),
        keys=keys or Keys(),
    )
    if order.class_name in _IMPORTED:
        raise BadOrder(
            f"{name!r} would be a second {order.class_name}. Use words like send_welcome."
        )
    order.keys.check(order.kind, [field for field, _ in order.fields])
    return order


def _checked_kind(name: str, kind: str | None) -> str:
    if kind is None and "_" not in name:
        raise BadOrder("A kind is an area and a deed. Give it: --kind mail.welcome")
    made = _default_kind(name) if kind is None else kind
    if not _KIND.fullmatch(made) or len(made) > _MAX_CHARS:
        raise BadOrder(f"{made!r} is no kind. Use an area and a deed, such as mail.welcome.")
    return made


def _default_kind(name: str) -> str:
    """report_daily is report.daily, welcome_mail is mail.welcome."""
    if name.endswith("_mail"):
        return f"mail.{name.removesuffix('_mail')}"
    area, _, deed = name.partition("_")
    return f"{area}.{deed}"


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    made = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_0123456789")[:_MAX_CHARS].strip("_")
    return made if _NAME.fullmatch(made) and made != name else "send_welcome"


def _each_once(fields: list[str]) -> list[str]:
    names = [words.partition(":")[0] for words in fields]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadOrder(f"The field {twice[0]!r} is there twice.")
    return fields


def _field(words: str) -> tuple[str, FieldType]:
    name, _, type_name = words.partition(":")
    taken = keyword.iskeyword(name) or name.startswith("model_") or hasattr(BaseModel, name)
    if not _NAME.fullmatch(name) or taken or name in {"spec", "upcasts", "read", "new_job"}:
        raise BadOrder(f"{name!r} is no name for a field. Use words like contact_id.")
    if type_name not in TYPES:
        raise BadOrder(f"{words!r} is no field. Use NAME:TYPE with one of {', '.join(TYPES)}.")
    return name, TYPES[type_name]
