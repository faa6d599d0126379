"""Golden records: what counts as a change of a contract, what is said about it, and what is never done."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, EmailStr, Field, create_model, model_validator

from app.contracts.golden import load, problems, record
from app.contracts.sample import sample_of
from app.contracts.shape import differences, shape_of
from app.errors import Conflict, Unprocessable
from app.ledger.contract import JobContract, JobSpec, Upcast, catalog


class Colour(StrEnum):
    RED = "red"


class Line(BaseModel):
    title: str
    number: int = Field(gt=10)


class Order(JobContract):
    """As it was first written."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.order")

    customer_id: UUID
    title: str = Field(description="Words.", examples=["Boots"])
    lines: list[Line] = Field(default_factory=list)


def changed(
    *,
    version: int = 1,
    upcasts: Mapping[int, Upcast] | None = None,
    **fields: Any,
) -> type[JobContract]:
    """Order with other fields: (type, default), or None for one that is gone."""
    members: dict[str, Any] = {
        "customer_id": (UUID, ...),
        "title": (str, Field(description="Other words.", title="Title")),
        "lines": (list[Line], Field(default_factory=list)),
        **fields,
    }
    kept = {name: member for name, member in members.items() if member is not None}
    made: type[JobContract] = create_model(
        "Order", __base__=JobContract, __module__="app.jobs.order", **kept
    )
    made.spec = JobSpec(kind="test.order", version=version)
    made.upcasts = upcasts or {}
    return made


def said(folder: Path, contract: type[JobContract]) -> str | None:
    return problems(load(folder), catalog([contract])).get("test.order")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path, Order)
    return tmp_path


def test_words_are_no_change(folder: Path) -> None:
    assert said(folder, Order) is None
    assert said(folder, changed()) is None


class WideLine(BaseModel):
    title: str
    number: int = Field(gt=10)
    note: str = ""


@pytest.mark.parametrize(
    ("contract", "names"),
    [
        (changed(title=None), ["field `title` was removed"]),
        (changed(note=(str, "")), ["field `note` is new", '"default": ""']),
        (changed(title=(int, ...)), ["field `title` was", '"string"', '"integer"']),
        (changed(title=(str, "untitled")), ["field `title` was", '"default": "untitled"']),
        (changed(title=(str, Field(max_length=9))), ["field `title`", '"maxLength": 9']),
        (changed(lines=(list[Line], ...)), ["field `lines`", '"required": true']),
        (changed(lines=(list[Line], Field(default_factory=tuple))), ["`lines`", "tuple()"]),
        (changed(lines=(list[WideLine], Field(default_factory=list))), ["`Line` was removed"]),
    ],
)
def test_any_other_change_is_named_with_what_to_do(
    folder: Path, contract: type[JobContract], names: list[str]
) -> None:
    message = said(folder, contract)
    assert message is not None
    for name in (*names, "app/jobs/order.py", "version=2", "{1: lambda old:", "make contracts"):
        assert name in message
    before = (folder / "test.order" / "v1.json").read_bytes()
    with pytest.raises(Conflict, match="has changed"):
        record(folder, contract)
    assert (folder / "test.order" / "v1.json").read_bytes() == before


def test_a_change_inside_a_nested_type_is_named_too() -> None:
    narrow, wide = shape_of(Order), shape_of(Order)
    wide["$defs"]["Line"]["properties"]["note"] = {"type": "string"}
    assert differences(narrow, wide) == ['field `Line.note` is new: {"type": "string"}']


def test_a_new_version_with_its_upcast_is_recorded_beside_the_old_one(folder: Path) -> None:
    second = changed(version=2, note=(str, ...), upcasts={1: lambda old: {**old, "note": "none"}})
    assert said(folder, second) == "test.order version 2 is not recorded. Run: make contracts"
    assert record(folder, second) == folder / "test.order" / "v2.json"
    assert record(folder, second) is None
    assert said(folder, second) is None
    assert sorted(load(folder)["test.order"]) == [1, 2]


@pytest.mark.parametrize(
    "upcast", [None, lambda old: old, lambda old: {**old, "note": old["nothing"]}]
)
def test_a_new_version_that_cannot_read_the_old_one_is_refused(
    folder: Path, upcast: Upcast | None
) -> None:
    second = changed(version=2, note=(str, ...), upcasts={1: upcast} if upcast else {})
    message = said(folder, second)
    assert message is not None
    assert "can't read its own version 1" in message
    assert "from version 1 to 2" in message
    with pytest.raises(Conflict, match="can't read its own version 1"):
        record(folder, second)


def test_a_version_that_was_skipped_is_missed(folder: Path) -> None:
    third = changed(version=3, upcasts={1: lambda old: old, 2: lambda old: old})
    assert "version 2 was never recorded" in str(said(folder, third))


def test_a_kind_that_is_gone_is_missed(folder: Path) -> None:
    assert "no contract in the catalog" in problems(load(folder), {})["test.order"]


def test_the_record_holds_payload_and_message_as_they_are_kept_and_sent(folder: Path) -> None:
    facts = json.loads((folder / "test.order" / "v1.json").read_text())
    assert Order.read(1, facts["payload"]).title == "Boots"
    assert facts["message"]["headers"]["task"] == "test.order"
    assert json.loads(facts["message"]["body"])[1]["version"] == 1


class Everything(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.everything")

    key: UUID
    on: date
    at: datetime
    lasts: timedelta
    mail: EmailStr
    colour: Colour
    word: Literal["a", "b"]
    short: Annotated[str, Field(max_length=2)]
    long: Annotated[str, Field(min_length=12)]
    few: Annotated[int, Field(ge=5, le=7)]
    below: Annotated[int, Field(lt=0)]
    even: Annotated[int, Field(multiple_of=2)]
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    flag: bool
    lines: Annotated[list[Line], Field(min_length=2)]
    pair: tuple[int, str]
    by_name: dict[str, int]
    maybe: date | None = None
    either: int | str
    anything: Any = None


def test_a_payload_is_made_up_for_whatever_a_contract_declares() -> None:
    facts = sample_of(Everything)
    made = Everything.read(1, facts)
    assert made.maybe == date(2026, 5, 1)
    assert made.at == datetime(2026, 5, 1, 8, tzinfo=UTC)
    assert sample_of(Everything) == facts


def _even(word: str) -> str:
    if len(word) % 2 or word == "text":
        raise ValueError("no")
    return word


class Picky(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.picky")

    word: Annotated[str, AfterValidator(_even)]


class Helpful(Picky):
    word: Annotated[str, AfterValidator(_even)] = Field(examples=["even"])


class Crossed(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.crossed")

    first: int
    last: int

    @model_validator(mode="after")
    def _in_order(self) -> "Crossed":
        if self.first >= self.last:
            raise ValueError("no")
        return self


def test_rules_that_cannot_be_guessed_want_an_example() -> None:
    with pytest.raises(Unprocessable, match=r"Field\(examples=\[\.\.\.\]\), for: word\."):
        sample_of(Picky)
    with pytest.raises(Unprocessable, match="depend on each other"):
        sample_of(Crossed)
    assert sample_of(Helpful) == {"word": "even"}
