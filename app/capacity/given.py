"""Loads that somebody gives, as options or in a JSON or TOML file, checked before anything is computed."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from app.capacity.durations import MOST_SCV, MOST_SPREAD, Durations, from_mean, from_percentiles
from app.capacity.plan import Demand, Terms
from app.errors import Unprocessable

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MOST = 1e9
Given = TypeVar("Given")


class GivenPool(BaseModel):
    """A pool's load: a rate per second, and durations as a mean with its variation or as percentiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arrival_rate: Annotated[float, Field(ge=0, le=MOST)]
    mean_seconds: Positive | None = None
    scv_durations: Annotated[float, Field(ge=0, le=MOST_SCV)] = 1.0
    p50_seconds: Positive | None = None
    p95_seconds: Positive | None = None
    scv_arrivals: NotNegative = 1.0
    overhead_seconds: NotNegative = 0.0
    backlog: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        percentiles = (self.p50_seconds, self.p95_seconds)
        if (self.mean_seconds is None) == (None in percentiles) or (
            self.mean_seconds is not None and percentiles != (None, None)
        ):
            raise ValueError("give mean_seconds, or p50_seconds and p95_seconds")
        if self.p50_seconds and self.p95_seconds and self.p50_seconds > self.p95_seconds:
            raise ValueError("p50_seconds is at most p95_seconds")
        if (
            self.p50_seconds
            and self.p95_seconds
            and self.p95_seconds > self.p50_seconds * MOST_SPREAD
        ):
            raise ValueError(f"p95_seconds is at most {MOST_SPREAD:,.0f} times p50_seconds")
        return self

    def durations(self) -> Durations:
        """As given, the rest as a lognormal has it."""
        if self.mean_seconds is not None:
            return from_mean(self.mean_seconds, self.scv_durations)
        assert self.p50_seconds is not None
        assert self.p95_seconds is not None
        return from_percentiles(self.p50_seconds, self.p95_seconds)

    def demand(self, name: str) -> Demand:
        """What the planner takes."""
        return Demand(
            pool=name,
            rate=self.arrival_rate,
            durations=self.durations(),
            scv_arrivals=self.scv_arrivals,
            overhead=self.overhead_seconds,
            backlog=self.backlog,
        )


class GivenFile(BaseModel):
    """`[pools.NAME]` for each pool, and `[terms]` as the command's options are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: Annotated[dict[str, GivenPool], Field(min_length=1)]
    terms: dict[str, Any] = Field(default_factory=dict)


def read_file(path: Path) -> GivenFile:
    """JSON where the name ends in .json, else TOML. Raises Unprocessable, which says what is wrong where."""
    try:
        words = path.read_text(encoding="utf-8")
        facts = json.loads(words) if path.suffix == ".json" else tomllib.loads(words)
    except (OSError, ValueError) as error:
        raise Unprocessable(f"{path} can't be read: {error}") from None
    return _checked(GivenFile.model_validate, facts, f"{path}: ")


def one_pool(facts: Mapping[str, Any]) -> GivenPool:
    """Of the options that were given. Raises Unprocessable."""
    given = {name: value for name, value in facts.items() if value is not None}
    return _checked(GivenPool.model_validate, given, "")


def terms_of(facts: Mapping[str, Any]) -> Terms:
    """What is the same for every pool. Raises Unprocessable for what it doesn't know or what can't be."""
    known = [field.name for field in fields(Terms)]
    for name in facts:
        if name not in known:
            raise Unprocessable(f"terms: there is no {name!r}, but: {', '.join(known)}")
    return _checked(TypeAdapter(Terms).validate_python, facts, "terms: ")


def _checked(read: Callable[[Any], Given], facts: object, where: str) -> Given:
    try:
        return read(facts)
    except ValidationError as bad:
        first = bad.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise Unprocessable(f"{where}{place + ': ' if place else ''}{message}") from None
