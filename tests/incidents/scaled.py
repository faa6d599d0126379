"""The product's own rules in a shorter time: nothing else about them is changed.

Windows and waits are divided by FACTOR. So are limits in seconds, but to no less than LEAST, because a dispatcher
reads its figures every five seconds, and to no more than MOST, because nobody wants to wait for hours.
"""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from infra.local.layout import ROOT

FACTOR = 10
LEAST_SECONDS = 12.0
MOST_SECONDS = 30.0
NAMES = ("limits", "rules", "alerts")
FOLDER = ROOT / "infra" / "prometheus"
_UNITS = {"s": 1, "m": 60, "h": 3600}
_WINDOW = re.compile(r"\[(\d+)([smh])\]")


def write_scaled(folder: Path) -> list[Path]:
    """The rule files, scaled, in `folder`."""
    paths = []
    for name in NAMES:
        content = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
        path = folder / f"{name}.yml"
        path.write_text(yaml.safe_dump(scaled(content), sort_keys=False))
        paths.append(path)
    return paths


def scaled(content: dict[str, Any]) -> dict[str, Any]:
    """A rule file as data."""
    for group in content["groups"]:
        group.pop("interval", None)  # the server's own is shorter
        for rule in group["rules"]:
            rule["expr"] = _WINDOW.sub(lambda found: f"[{_shorter(*found.groups())}]", rule["expr"])
            if "for" in rule:
                rule["for"] = _shorter(rule["for"][:-1], rule["for"][-1])
            if rule.get("record", "").endswith("_limit:seconds"):
                rule["expr"] = f"vector({_limit(rule)})"
    return content


def _limit(rule: dict[str, Any]) -> float:
    seconds = float(rule["expr"].removeprefix("vector(").removesuffix(")"))
    if rule.get("labels") == {"chore": "janitor"}:
        return seconds  # it comes every ten minutes, here too
    return min(MOST_SECONDS, max(LEAST_SECONDS, seconds / FACTOR))


def _shorter(number: str, unit: str) -> str:
    return f"{int(number) * _UNITS[unit] * 1000 // FACTOR}ms"
