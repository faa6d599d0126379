"""Import targets: what the rows of a file can become."""

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.problems import describe
from app.api.session import CurrentTenant
from app.imports.targets import TARGETS, Field, Target

router = APIRouter(prefix="/v1", tags=["imports"])


class FieldView(BaseModel):
    """A field that a column can feed. A row without a value for a required one is rejected."""

    name: str
    label: str
    type: str
    required: bool


class TargetView(BaseModel):
    """`key` tells one row from another. With `attributes`, columns that feed no field are kept as such."""

    name: str
    key: str
    attributes: bool
    fields: list[FieldView]


class TargetList(BaseModel):
    """All of them."""

    items: list[TargetView]


@router.get("/targets", responses=describe(422))
def list_targets(tenant_id: CurrentTenant) -> TargetList:  # noqa: ARG001 - for whoever has a key
    """What a file can be imported as, and the fields of each."""
    return TargetList(items=[target_view(target) for target in TARGETS.values()])


def target_view(target: Target) -> TargetView:
    """As the API shows it."""
    return TargetView(
        name=target.name,
        key=target.key,
        attributes=target.attributes is not None,
        fields=[_field_view(field, target) for field in target.fields],
    )


def _field_view(field: Field, target: Target) -> FieldView:
    return FieldView(
        name=field.name,
        label=field.label,
        type=type(field.type).__name__.lower(),
        required=field.required or field is target.key_field,
    )
