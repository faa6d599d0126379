"""What is posted: every order and what must come of it, as a pure function of the seed.

An order is one request to the API. `number` runs through the whole campaign, and every row that a job
writes carries it.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from tests.chaos.handlers import ACCOUNTS

SHARES: Mapping[str, float] = MappingProxyType(
    {
        "urgent": 0.08,
        "lazy": 0.06,
        "charge": 0.10,
        "flaky": 0.05,
        "chain": 0.05,
        "fan": 0.03,
        "delayed": 0.03,
        "locked": 0.03,
        "steps": 0.02,
        "long": 0.015,
        "doomed": 0.015,
        "replayed": 0.015,
        "cancelled": 0.02,
        "late": 0.01,
        "twin": 0.01,
        "import": 0.012,
    }
)
"""Of all orders; at least one of each. The rest are plain rows."""

SUCCEEDED, DEAD, CANCELLED = "succeeded", "dead", "cancelled"
BIG_IMPORT_ROWS = 5_500
"""With their notes more than one part of a multipart upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`kind` None is an import. Times are seconds after the order is posted.

    `steps` rows must come of it if it ends in `succeeded`, none otherwise; `ends` are the states that it
    may end in. `posts` requests are made for it, with one unique key and an Idempotency-Key each.
    """

    number: int
    name: str
    kind: str | None
    payload: dict[str, int] = field(default_factory=dict)
    run_in: float | None = None
    deadline_in: float | None = None
    cancel_in: float | None = None
    replays: int = 0
    """How often it is replayed; before the last time its trouble is mended."""
    posts: int = 1
    steps: int = 1
    ends: frozenset[str] = frozenset({SUCCEEDED})


def orders(seed: int, jobs: int) -> list[Order]:
    """`jobs` orders, mixed."""
    dice = Random(f"orders/{seed}")  # noqa: S311 - not a secret
    names = [name for name, share in SHARES.items() for _ in range(max(1, round(share * jobs)))]
    names = [*names, *["row"] * max(0, jobs - len(names))][:jobs]
    dice.shuffle(names)
    return [_MAKERS[name](number, name, dice) for number, name in enumerate(names)]


def _plain(kind: str) -> Callable[[int, str, Random], Order]:
    def make(number: int, name: str, dice: Random) -> Order:
        millis = dice.choice((0, 0, 0, 5, 20, 60))
        return _order(number, name, kind, {"millis": millis})

    return make


def _order(number: int, name: str, kind: str, payload: dict[str, int]) -> Order:
    return Order(
        number=number, name=name, kind=f"chaos.{kind}", payload={"number": number, **payload}
    )


def _flaky(number: int, name: str, dice: Random) -> Order:
    return _order(number, name, "flaky", {"failures": dice.randint(1, 3)})


def _chain(number: int, name: str, dice: Random) -> Order:
    left = dice.randint(1, 4)
    order = _order(number, name, "link", {"left": left})
    return replace(order, steps=left + 1)


def _fan(number: int, name: str, dice: Random) -> Order:
    """Some with a batch and a window, some without."""
    pieces = dice.randint(2, 12)
    facts = {"pieces": pieces, "window": dice.choice((0, 1, 3, 20)), "millis": dice.choice((0, 5))}
    return replace(_order(number, name, "fan", facts), steps=pieces + 2)


def _delayed(number: int, name: str, dice: Random) -> Order:
    return replace(_order(number, name, "row", {}), run_in=dice.uniform(0.5, 12))


def _locked(number: int, name: str, dice: Random) -> Order:
    account = dice.randrange(ACCOUNTS)
    return _order(number, name, "locked", {"account": account, "millis": dice.randint(0, 250)})


def _steps(number: int, name: str, dice: Random) -> Order:
    count = dice.randint(3, 8)
    order = _order(number, name, "steps", {"steps": count, "millis": dice.randint(20, 200)})
    return replace(order, steps=count)


def _long(number: int, name: str, dice: Random) -> Order:
    return _order(number, name, "long", {"millis": dice.randint(1000, 4000)})


def _doomed(number: int, name: str, _: Random) -> Order:
    return replace(_order(number, name, "doomed", {}), ends=frozenset({DEAD}))


def _replayed(number: int, name: str, dice: Random) -> Order:
    return replace(_order(number, name, "doomed", {}), replays=dice.randint(1, 2))


def _cancelled(number: int, name: str, dice: Random) -> Order:
    """Some wait, some run, and some have ended when the word comes."""
    return replace(
        _order(number, name, "long", {"millis": dice.randint(200, 2500)}),
        run_in=dice.choice((None, None, 3600.0)),
        cancel_in=dice.uniform(0, 3),
        ends=frozenset({SUCCEEDED, CANCELLED}),
    )


def _late(number: int, name: str, dice: Random) -> Order:
    """Its deadline comes soon after its time: it begins before that, or never."""
    order = _order(number, name, "row", {})
    run_in = dice.uniform(3, 6)
    deadline_in = run_in + dice.uniform(0.02, 0.5)
    ends = frozenset({SUCCEEDED, DEAD})
    return replace(order, run_in=run_in, deadline_in=deadline_in, ends=ends)


def _twin(number: int, name: str, _: Random) -> Order:
    return replace(_order(number, name, "row", {}), posts=2)


def _import(number: int, name: str, dice: Random) -> Order:
    big = dice.random() < 0.02
    rows = BIG_IMPORT_ROWS if big else dice.randint(200, 3000)
    facts = {"rows": rows, "broken": dice.randint(0, 20), "doubled": dice.randint(0, 20)}
    return Order(
        number=number, name=name, kind=None, payload={**facts, "note": 1000 if big else 0}, steps=0
    )


_MAKERS: Mapping[str, Callable[[int, str, Random], Order]] = MappingProxyType(
    {
        **{kind: _plain(kind) for kind in ("row", "urgent", "lazy", "charge")},
        "flaky": _flaky,
        "chain": _chain,
        "fan": _fan,
        "delayed": _delayed,
        "locked": _locked,
        "steps": _steps,
        "long": _long,
        "doomed": _doomed,
        "replayed": _replayed,
        "cancelled": _cancelled,
        "late": _late,
        "twin": _twin,
        "import": _import,
    }
)


# --- imports -----------------------------------------------------------------------------------


def email_of(order: Order, row: int) -> str:
    """The address in a row of an import; no two orders share one."""
    return f"order{order.number}-row{row}@example.com"


def import_csv(order: Order) -> bytes:
    """Good rows, then `broken` ones without an address, then `doubled` ones that repeat one."""
    rows, broken, doubled = (order.payload[name] for name in ("rows", "broken", "doubled"))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("Email", "First Name", "Note"))
    note = "x" * order.payload["note"]
    writer.writerows((email_of(order, row), f"Row {row}", note) for row in range(rows))
    writer.writerows((f"no address {row}", "Broken", "") for row in range(broken))
    writer.writerows((email_of(order, row), f"Row {row}", note) for row in range(doubled))
    return text.getvalue().encode()


def import_counts(order: Order) -> dict[str, int]:
    """What the import must report: of rows with one address the last wins, the others are rejected."""
    rows, broken, doubled = (order.payload[name] for name in ("rows", "broken", "doubled"))
    return {
        "total": rows + broken + doubled,
        "inserted": rows,
        "updated": 0,
        "unchanged": 0,
        "rejected": broken + doubled,
    }
