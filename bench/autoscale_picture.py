"""`python -m bench.autoscale_picture`: docs/strategies.svg, from a run of the first traffic model."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.autoscale import JOBS, SEEDS
from bench.autoscale_pools import Outcome, following, one_queue, sharded
from bench.autoscale_scalers import CONTAINERS, processes
from bench.autoscale_traffic import DAY, MODELS, Day, make_day

BINS = 288
"""Five minutes each."""
WIDTH, HEIGHT, LEFT = 800.0, 150.0, 70.0
LONGEST_MS = 10_000_000.0
Values = NDArray[np.float64]

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 480" role="img" aria-labelledby="t d" \
font-family="system-ui, sans-serif">
<title id="t">A day of a million jobs, four ways to run its workers</title>
<desc id="d">{desc}</desc>
<style>svg{{background:#fbfaf7}}text{{font-size:12px;fill:#33415c}}.h{{font-size:14px;font-weight:600}}
.a{{fill:#d9dfe8}}.o{{stroke:#b3261e}}.s{{stroke:#b07a00}}.l{{stroke:#1f6b4a}}.c{{stroke:#5b6fb8}}.g{{stroke:#c9cfda}}
path{{fill:none;stroke-width:1.6}}path.a{{stroke:none;fill:#d9dfe8}}
@media (prefers-color-scheme:dark){{svg{{background:#14181f}}text{{fill:#c5cede}}.a,path.a{{fill:#2a3342}}
.o{{stroke:#ff8a80}}.s{{stroke:#ffca5c}}.l{{stroke:#5fc396}}.c{{stroke:#9db2ff}}.g{{stroke:#39445a}}}}</style>
"""


def picture(day: Day, outcomes: dict[str, Outcome]) -> str:
    """Above: what arrives, and the workers; below: each strategy's p99 wait, five minutes at a time."""
    static, lag = outcomes["o"], outcomes["l"]
    arriving = np.histogram(day.arrivals, bins=BINS, range=(0, DAY))[0] / (DAY / BINS)
    workers = _workers(lag)
    level = static.worker_seconds / DAY
    top = max(float(workers.max()), level)
    parts = [
        _HEAD.format(desc="Children follow the arrivals in the lag-driven pools; p99 waits below."),
        f'<text class="h" x="{LEFT}" y="24">Workers: lag-driven children, and static at the same worker-seconds</text>',
        f'<text x="{LEFT}" y="42">grey: arrivals, up to {arriving.max():.0f} jobs/s; top: {top:.0f} workers</text>',
        _area(arriving / arriving.max(), 50.0),
        _line("l", workers / top, 50.0),
        _line("o", np.full(BINS, level / top), 50.0),
        f'<text class="h" x="{LEFT}" y="244">p99 wait of those who came in each five minutes</text>',
    ]
    for ms, words in ((1, "1 ms"), (1_000, "1 s"), (60_000, "1 min"), (3_600_000, "1 h")):
        y = 290 + HEIGHT * (1 - _logarithm(np.array([float(ms)]))[0])
        parts.append(f'<path class="g" d="M{LEFT} {y:.1f}H{LEFT + WIDTH}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    names = {
        "o": "one static queue",
        "s": "static shards",
        "c": "lag-driven, containers",
        "l": "lag-driven, processes",
    }
    for number, (style, name) in enumerate(names.items()):
        x = LEFT + 200 * number
        parts.append(_line(style, _logarithm(_p99(day, outcomes[style])), 290.0))
        parts.append(
            f'<path class="{style}" d="M{x} 264h24"/><text x="{x + 30}" y="268">{name}</text>'
        )
    for hour in range(0, 25, 4):
        x = LEFT + WIDTH * hour / 24
        parts.append(f'<text x="{x:.0f}" y="462" text-anchor="middle">{hour}:00</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _workers(outcome: Outcome) -> Values:
    """The most that are alive at once, five minutes at a time."""
    moments, counts = (np.array(one, dtype=float) for one in zip(*outcome.timeline, strict=True))
    edges = np.searchsorted(moments, np.arange(BINS + 1) * DAY / BINS)
    most = [counts[max(0, a - 1) : max(b, 1)].max() for a, b in pairwise(edges)]
    return np.array(most)


def _p99(day: Day, outcome: Outcome) -> Values:
    edges = np.searchsorted(day.arrivals, np.arange(BINS + 1) * DAY / BINS)
    parts = [outcome.waits[a:b] for a, b in pairwise(edges)]
    return np.array([np.quantile(part, 0.99) * 1000 if len(part) else 0.0 for part in parts])


def _logarithm(ms: Values) -> Values:
    clipped: Values = np.log10(np.clip(ms, 1, LONGEST_MS))
    share: Values = clipped / np.log10(LONGEST_MS)
    return share


def _points(values: Values, top: float) -> list[str]:
    steps = LEFT + (np.arange(BINS) + 0.5) * WIDTH / BINS
    return [f"{x:.1f} {top + HEIGHT * (1 - v):.1f}" for x, v in zip(steps, values, strict=True)]


def _line(style: str, values: Values, top: float) -> str:
    return f'<path class="{style}" d="M{" L".join(_points(values, top))}"/>'


def _area(values: Values, top: float) -> str:
    foot = f"{top + HEIGHT:.1f}"
    return f'<path class="a" d="M{LEFT} {foot} L{" L".join(_points(values, top))} L{LEFT + WIDTH} {foot}Z"/>'


def main() -> None:
    day = make_day(MODELS[0], JOBS, seed=SEEDS[0])
    lag = following(day, processes())
    workers = round(lag.worker_seconds / DAY)
    outcomes = {
        "o": one_queue(day, workers),
        "s": sharded(day, workers),
        "c": following(day, CONTAINERS),
        "l": lag,
    }
    Path("docs/strategies.svg").write_text(picture(day, outcomes))


if __name__ == "__main__":
    main()
