"""The tables of docs/peers.md, between its markers, and docs/peers.svg."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.page import put_between, row
from bench.peers_catalog import MANY, OURS, PROMISES, SIDES, Promises
from infra.local.layout import ROOT

PAGE = ROOT / "docs" / "peers.md"
Facts = Mapping[str, Mapping[str, Any]]
"""The note `sides` of the result, by side."""

LEFT, WIDTH, STEP, TOP = 250.0, 540.0, 34.0, 60.0
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height:.0f}" role="img" aria-labelledby="t d" \
font-family="system-ui, sans-serif">
<title id="t">Small jobs per second, beside other job systems</title>
<desc id="d">{desc}</desc>
<style>svg{{background:#fbfaf7}}text{{font-size:13px;fill:#33415c}}.h{{font-size:14px;font-weight:600}}
.n{{text-anchor:end}}.o{{fill:#1f6b4a}}.r{{fill:#b07a00}}.p{{fill:#8b98ad}}
@media (prefers-color-scheme:dark){{svg{{background:#14181f}}text{{fill:#c5cede}}
.o{{fill:#5fc396}}.r{{fill:#ffca5c}}.p{{fill:#5d6b82}}}}</style>
<text class="h" x="20" y="28">Small jobs per second, the better of 1 and {many} at a time in each of two processes</text>
<text x="20" y="46">Green: Millrace. Yellow: jobs are rows in PostgreSQL, too. Grey: messages, or entries in Redis.</text>
"""


def write_page(facts: Facts, *, jobs: int, rounds: int, page: Path = PAGE) -> None:
    """Put new figures, what each side keeps, and the picture beside the page; the prose stays."""
    measured = f"Medians of {rounds} rounds of {jobs:,} jobs.\n\n"
    put_between(page, "rates", measured + _rates(facts))
    put_between(page, "promises", _promises())
    page.with_suffix(".svg").write_text(picture(facts))


def _sorted(facts: Facts) -> list[str]:
    return sorted(facts, key=lambda name: -facts[name]["jobs_per_s"])


def _rates(facts: Facts) -> str:
    heads = (
        "2 x 1",
        f"2 x {MANY}",
        "sixteen together, to it",
        "a message each, to it",
        "CPU per job",
    )
    lines = row("", *heads) + row("---", *("---:" for _ in heads))
    for name in _sorted(facts):
        side = facts[name]
        rates = [side["jobs_per_s_by_slots"].get(slots) for slots in (1, MANY)]
        ratios = (f"**{side['ours_is']:.2f}**", f"{side['message_each_is']:.2f}")
        cells = ["" if rate is None else f"{rate:,.0f}" for rate in rates]
        lines += row(SIDES[name].title, *cells, *ratios, f"{side['cpu_us_per_job']:,.0f} µs")
    return lines


def _promises() -> str:
    lines = row("", *PROMISES.values())
    lines += row("---", *("---" for _ in PROMISES))
    shown: dict[Promises, str] = {SIDES[OURS].promises: "Millrace"}
    for entry in SIDES.values():
        shown.setdefault(entry.promises, entry.title)
    for promises, title in shown.items():
        lines += row(title, *(getattr(promises, name) for name in PROMISES))
    return lines


def picture(facts: Facts) -> str:
    """A bar for each side, the fastest first."""
    names = _sorted(facts)
    most = facts[names[0]]["jobs_per_s"]
    rates = ", ".join(f"{SIDES[name].title} {facts[name]['jobs_per_s']:,.0f}" for name in names)
    height = TOP + STEP * len(names) + 10
    parts = [_HEAD.format(height=height, desc=f"{rates} jobs/s.", many=MANY)]
    for number, name in enumerate(names):
        entry, rate = SIDES[name], facts[name]["jobs_per_s"]
        style = "o" if entry.promises is SIDES[OURS].promises else "r" if entry.recorded else "p"
        y, long = TOP + STEP * number, WIDTH * rate / most
        parts.append(f'<text class="n" x="{LEFT - 10}" y="{y + 18:.0f}">{entry.title}</text>')
        parts.append(
            f'<rect class="{style}" x="{LEFT}" y="{y:.0f}" width="{long:.1f}" height="24" rx="3"/>'
        )
        parts.append(f'<text x="{LEFT + long + 8:.1f}" y="{y + 17:.0f}">{rate:,.0f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
