"""Which faults strike what, and when, as a pure function of the seed.

Faults on different targets overlap; those on one target (a lane) follow each other. Rounds of overlapping
faults take turns with series, in which the rest of the system is whole: what a recovery takes by itself
is measured there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from tests.chaos.links import SERVERS_OF
from tests.chaos.stage import CLOCKED, DISPATCHERS, FEW_WORKERS, LEASE_SECONDS, WEBS, WORKERS

PACE_SECONDS = 0.8
"""In a round a fault begins this often, on average."""
ROUNDS = 2

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`share` is how many of a hundred faults are of this kind, `most` how many a campaign can afford;
    `figures` are ranges to draw from. A `whole` kind always gets the system to itself, and of `samples`
    others of its kind some do.
    """

    share: float
    targets: tuple[str, ...]
    lane: str | None = None
    """None: each target is a lane of its own."""
    figures: Mapping[str, Range] = field(default_factory=dict)
    ways: tuple[str, ...] = ("",)
    """How it strikes: on one target one after the other, on different ones different ones."""
    most: int = 10_000
    samples: int = 0
    dear: bool = False
    """Takes many seconds: not in a small campaign."""


_PAUSE: Range = (LEASE_SECONDS + 1.0, LEASE_SECONDS + 2.5)
_LINKS = (
    *("dispatcher-rabbitmq", "worker-postgres", "worker-rabbitmq", "dispatcher-postgres"),
    *("web-postgres", "worker-provider", "client-web-1", "client-web-2", "worker-smtp"),
)
_STORE_LINKS = tuple(f"{kind}-s3" for kind, servers in SERVERS_OF.items() if "s3" in servers)
_QUEUES = ("default", "high", "low")
_PROGRAMS = ("millrace-worker", "millrace-dispatcher", "millrace-web")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "kill web": Kind(share=3, targets=WEBS),
        "kill dispatcher": Kind(share=4, targets=DISPATCHERS),
        "kill worker": Kind(share=4, targets=tuple(WORKERS)),
        "kill child": Kind(share=14, targets=tuple(WORKERS), samples=8),
        "stop child": Kind(share=3, targets=tuple(WORKERS), figures={"seconds": _PAUSE}),
        "stop worker": Kind(share=2, targets=tuple(WORKERS), figures={"seconds": _PAUSE}),
        "stop dispatcher": Kind(share=2, targets=DISPATCHERS, figures={"seconds": _PAUSE}),
        "restart rabbitmq": Kind(share=1, targets=("rabbitmq",), most=3, samples=2, dear=True),
        "kill rabbitmq": Kind(share=1, targets=("rabbitmq",), most=2, samples=1, dear=True),
        "close connections": Kind(share=2, targets=("rabbitmq",), most=8, samples=2),
        "restart postgres": Kind(share=1, targets=("postgres",), most=4, samples=2, dear=True),
        "kill postgres": Kind(share=1, targets=("postgres",), most=3, samples=2, dear=True),
        "terminate backends": Kind(share=14, targets=_PROGRAMS, lane="postgres", samples=2),
        "cut": Kind(share=12, targets=_LINKS, lane="network", figures={"seconds": (0.0, 1.5)}),
        "delay": Kind(
            share=6,
            targets=_LINKS,
            lane="network",
            figures={"seconds": (1.0, 3.0), "delay": (0.02, 0.3)},
        ),
        "half-open": Kind(
            share=7,
            targets=_LINKS,
            lane="network",
            figures={"seconds": (1.0, 6.0)},
            ways=("both", "up", "down"),
        ),
        "duplicate messages": Kind(share=8, targets=_QUEUES, lane="messages"),
        "lose messages": Kind(share=4, targets=_QUEUES, lane="messages"),
        "dead-letter copies": Kind(share=9, targets=_QUEUES, lane="messages", samples=1),
        "plant rubbish": Kind(share=5, targets=_QUEUES, lane="messages"),
        "s3 errors": Kind(
            share=4, targets=_STORE_LINKS, lane="s3", figures={"seconds": (0.5, 3.0)}
        ),
        "s3 slow": Kind(
            share=3,
            targets=_STORE_LINKS,
            lane="s3",
            figures={"seconds": (1.0, 4.0), "bytes_per_second": (2e4, 4e5)},
        ),
        "clock off": Kind(
            share=3,
            targets=CLOCKED,
            lane="clock",
            figures={"seconds": (3.0, 8.0), "offset": (-600.0, 600.0)},
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`at` is seconds into its round; of no meaning in a series."""

    kind: str
    target: str
    lane: str
    at: float
    figures: Mapping[str, float]
    way: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """Faults that overlap, by lane and in order; then a series of others, one at a time."""

    lanes: Mapping[str, tuple[Fault, ...]]
    series: tuple[Fault, ...]


def timetable(
    seed: int, faults: int, *, small: bool = False, without: frozenset[str] = frozenset()
) -> list[Round]:
    """`faults` faults of every kind but those `without`; of a small campaign, no dear ones either,
    nor any on workers that it goes without.
    """
    dice = Random(f"faults/{seed}")  # noqa: S311 - not a secret
    kinds = {
        name: _of_few(kind) if small else kind
        for name, kind in KINDS.items()
        if name not in without and not (small and kind.dear)
    }
    overlapping, alone = _draw(kinds, faults, dice)
    rounds = 1 if small else ROUNDS
    return [
        _round(overlapping[index::rounds], alone[index::rounds], dice) for index in range(rounds)
    ]


def _of_few(kind: Kind) -> Kind:
    """With the targets that are there in a small campaign."""
    absent = WORKERS.keys() - FEW_WORKERS.keys()
    return replace(kind, targets=tuple(one for one in kind.targets if one not in absent))


def _draw(kinds: Mapping[str, Kind], faults: int, dice: Random) -> tuple[list[Fault], list[Fault]]:
    """The faults of the rounds and those of the series, each mixed."""
    counts = _counts(kinds, faults)
    overlapping: list[Fault] = []
    alone: list[Fault] = []
    for name, count in counts.items():
        kind = kinds[name]
        samples = min(kind.samples, count // 2) if count > 1 else 0
        targets = _targets(kind, count, dice)
        for index, target in enumerate(targets):
            times = kind.targets.index(target) + targets[:index].count(target)
            fault = _fault(name, kind, target, kind.ways[times % len(kind.ways)], dice)
            (alone if index < samples else overlapping).append(fault)
    dice.shuffle(overlapping)
    dice.shuffle(alone)
    return overlapping, alone


def _counts(kinds: Mapping[str, Kind], faults: int) -> dict[str, int]:
    """By kind, `faults` in all: by share, capped by what is dear; the cheap ones make up for it."""
    total = sum(kind.share for kind in kinds.values())
    counts = {
        name: min(kind.most, round(faults * kind.share / total)) for name, kind in kinds.items()
    }
    by_share = sorted(kinds, key=lambda name: -kinds[name].share)
    for name in by_share:  # a small campaign has few of each, but some of the most important
        counts[name] = counts[name] or int(sum(counts.values()) < faults)
    while sum(counts.values()) < faults:
        for name in by_share[: faults - sum(counts.values())]:
            counts[name] += int(counts[name] < kinds[name].most)
    while (over := sum(counts.values()) - faults) > 0:
        for name in by_share[:over]:
            counts[name] -= int(counts[name] > 1)
    return counts


def _targets(kind: Kind, count: int, dice: Random) -> list[str]:
    """Every target about as often as the others; where they are few, those that are named first."""
    chosen = list(kind.targets)
    while len(chosen) < count:
        chosen += dice.sample(kind.targets, len(kind.targets))
    return chosen[:count]


def _fault(name: str, kind: Kind, target: str, way: str, dice: Random) -> Fault:
    return Fault(
        kind=name,
        target=target,
        lane=kind.lane or target,
        at=0.0,
        figures={key: round(dice.uniform(*between), 3) for key, between in kind.figures.items()},
        way=way,
    )


def _round(overlapping: list[Fault], series: list[Fault], dice: Random) -> Round:
    length = PACE_SECONDS * len(overlapping)
    lanes: dict[str, list[Fault]] = {}
    for at, fault in sorted(
        ((round(dice.uniform(0, length), 2), fault) for fault in overlapping),
        key=lambda one: one[0],
    ):
        lanes.setdefault(fault.lane, []).append(replace(fault, at=at))
    return Round({name: tuple(faults) for name, faults in lanes.items()}, tuple(series))
