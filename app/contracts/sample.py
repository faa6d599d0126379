"""A payload made up from a contract's own declarations, with every field filled in."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.errors import Unprocessable
from app.ledger.contract import JobContract

_TEXTS = {
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "date": "2026-05-01",
    "date-time": "2026-05-01T08:00:00Z",
    "time": "08:00:00",
    "duration": "PT1H",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "binary": "text",
    "ipv4": "192.0.2.1",
}


def sample_of(contract: type[JobContract]) -> dict[str, Any]:
    """As the ledger stores it; the same each time. A field's own `examples` come first, then its default.

    Raises Unprocessable for a contract whose rules can't be guessed: that wants `Field(examples=[...])`.
    """
    schema = contract.model_json_schema()
    definitions = schema.get("$defs", {})
    facts = {name: _value(field, definitions) for name, field in _properties(schema)}
    try:
        return contract.model_validate(facts).model_dump(mode="json")
    except ValidationError as bad:
        fields = ", ".join(sorted({str(error["loc"][0]) for error in bad.errors() if error["loc"]}))
        raise Unprocessable(
            f"No payload of {contract.spec.kind} could be made up. Give an example in the contract, "
            f"Field(examples=[...]), for: {fields or 'the fields that depend on each other'}."
        ) from None


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(schema.get("properties", {}).items())


def _value(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    given = [*field.get("examples", ()), *field.get("enum", ())]
    given += [field[key] for key in ("const", "default") if field.get(key) is not None]
    if given:
        return given[0]
    if "$ref" in field:
        return _value(definitions[field["$ref"].rpartition("/")[2]], definitions)
    for choice in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        if choice.get("type") != "null":
            return _value(choice, definitions)
    return _typed(field, definitions)


def _typed(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    plain: dict[str, Any] = {"boolean": True, "null": None}
    match field.get("type"):
        case "string":
            return _text(field)
        case "integer" | "number":
            return _number(field)
        case "array":
            return _array(field, definitions)
        case "object":
            return _object(field, definitions)
        case other:
            return plain.get(str(other), "text")


def _array(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Any]:
    if field.get("prefixItems"):
        return [_value(item, definitions) for item in field["prefixItems"]]
    item = _value(field["items"], definitions) if field.get("items") else "text"
    return [item] * max(1, field.get("minItems", 1))


def _object(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: _value(inner, definitions) for name, inner in _properties(field)}
    more = field.get("additionalProperties")
    return own or ({"key": _value(more, definitions)} if isinstance(more, dict) else {})


def _text(field: Mapping[str, Any]) -> str:
    text = _TEXTS.get(field.get("format", ""), "text")
    if "format" in field:
        return text
    return text.ljust(field.get("minLength", 0), "x")[: field.get("maxLength", len(text) + 1000)]


def _number(field: Mapping[str, Any]) -> float:
    """1, or the nearest that fits."""
    number: float = 1
    if number < field.get("minimum", number):
        number = field["minimum"]
    if number <= field.get("exclusiveMinimum", number - 1):
        number = field["exclusiveMinimum"] + 1
    if number > field.get("maximum", number):
        number = field["maximum"]
    if number >= field.get("exclusiveMaximum", number + 1):
        number = field["exclusiveMaximum"] - 1
    step = field.get("multipleOf")
    return number if step is None else step * max(1, -(-number // step))
