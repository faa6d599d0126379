"""The shape of a payload: its fields with their types, limits and defaults, and nothing that is only words."""

import json
from collections.abc import Mapping
from typing import Any

from app.ledger.contract import JobContract

_WORDS = frozenset({"title", "description", "examples", "deprecated"})
_NAMED = frozenset({"properties", "$defs"})
"""Below these, keys are names and not keywords."""


def shape_of(contract: type[JobContract]) -> dict[str, Any]:
    """As JSON Schema, so that it stays the same over releases of Python. A changed docstring, title or
    example is no change of it.
    """
    shape: dict[str, Any] = _bare(contract.model_json_schema())
    made = {
        name: getattr(field.default_factory, "__qualname__", str(field.default_factory))
        for name, field in contract.model_fields.items()
        if field.default_factory is not None
    }
    for name, factory in made.items():
        shape["properties"][name].setdefault("default", f"{factory}()")
    return shape


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed, a sentence each; empty when nothing did."""
    return [
        *_of_fields(recorded, now, ""),
        *_of_definitions(recorded.get("$defs", {}), now.get("$defs", {})),
        *_of_the_rest(recorded, now),
    ]


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(item) for name, item in value.items()} if key in _NAMED else _bare(value)
        for key, value in schema.items()
        if key not in _WORDS
    }


def _of_fields(recorded: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> list[str]:
    """Of one object's properties; whether a field must be there counts as part of it."""
    before, after = _fields(recorded), _fields(now)
    found: list[str] = []
    for name in sorted({*before, *after}):
        field = f"field `{prefix}{name}`"
        if name not in after:
            found.append(f"{field} was removed (it was {_words(before[name])})")
        elif name not in before:
            found.append(f"{field} is new: {_words(after[name])}")
        elif before[name] != after[name]:
            found.append(f"{field} was {_words(before[name])} and is {_words(after[name])}")
    return found


def _of_definitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(f"type `{name}` was removed")
        elif name not in before:
            found.append(f"type `{name}` is new")
        else:
            found += _of_fields(before[name], after[name], f"{name}.")
            found += [f"type `{name}`: {line}" for line in _of_the_rest(before[name], after[name])]
    return found


def _of_the_rest(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    told = {"properties", "required", "$defs"}
    return [
        f"`{key}` was {json.dumps(recorded.get(key))} and is {json.dumps(now.get(key))}"
        for key in sorted({*recorded, *now} - told)
        if recorded.get(key) != now.get(key)
    ]


def _fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", [])
    return {
        name: {**field, "required": name in required}
        for name, field in schema.get("properties", {}).items()
    }


def _words(field: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in field.items() if value is not False})
