"""A connection to another system as the API takes and shows it. Its token is never shown."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, field_validator

from app.api.bodies import Body, Name
from app.outbound.breaker import CircuitState
from app.sync.connections import Account
from app.sync.runs import Run

Token = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=2000,
        description="Sent as `Authorization: Bearer`. Kept sealed; never shown again.",
    ),
]
Deletes = Annotated[
    Literal["keep", "mirror"],
    Field(
        description="`keep`: what is deleted on one side stays on the other. `mirror`: it is deleted there "
        "too, unless it was changed there since."
    ),
]
PerSecond = Annotated[
    int, Field(ge=1, le=100, description="Requests in any second, over all workers together.")
]


def _plain(token: SecretStr | None) -> SecretStr | None:
    value = "" if token is None else token.get_secret_value()
    if any(not "!" <= char <= "~" for char in value):
        raise ValueError("A token has visible ASCII characters only.")
    return token


class ConnectionRequest(Body):
    """A connection to be."""

    name: Name
    base_url: Annotated[
        str,
        Field(max_length=2000, description="Where `/contacts` is.", examples=["https://crm/v1"]),
    ]
    token: Token
    push: Annotated[bool, Field(description="Whether our changes are sent there.")] = True
    deletes: Deletes = "keep"
    per_second: PerSecond = 10

    _check_token = field_validator("token")(_plain)


class ConnectionChange(Body):
    """What is to change; what is not sent stays. The address can't change: make a new connection."""

    name: Name | None = None
    token: Token | None = None
    push: bool | None = None
    deletes: Deletes | None = None
    per_second: PerSecond | None = None
    paused: bool | None = None

    _check_token = field_validator("token")(_plain)

    @field_validator("name", "token", "push", "deletes", "per_second", "paused")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("Leave it out to keep it as it is.")
        return value

    def changes(self) -> dict[str, Any]:
        """Those that were sent, the token in plain text."""
        sent = self.model_dump(exclude_unset=True)
        if self.token is not None:
            sent["token"] = self.token.get_secret_value()
        return sent


class SyncProblem(BaseModel):
    """Why something ended, or was paused, where nobody asked for that."""

    code: str
    message: str


class CircuitView(BaseModel):
    """Whether its server is being asked. `open`: left alone until `retry_at`."""

    state: Literal["closed", "open", "half_open"]
    failures: int
    changed_at: datetime
    retry_at: datetime | None
    reason: str | None


class ConnectionView(BaseModel):
    """A connection. `circuit` is null while none of its requests has ever failed."""

    id: UUID
    name: str
    base_url: str
    push: bool
    deletes: Deletes
    per_second: int
    state: Literal["active", "paused"]
    error: SyncProblem | None
    circuit: CircuitView | None
    synced_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RunView(BaseModel):
    """A run. `counts` name what became of contacts: see the guide."""

    id: UUID
    connection_id: UUID
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    counts: dict[str, int]
    error: SyncProblem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def view_of(account: Account, circuit: CircuitState | None = None) -> ConnectionView:
    """As of now."""
    facts = {name: getattr(account, name) for name in Account.__dataclass_fields__}
    shown = None if circuit is None else CircuitView.model_validate(circuit, from_attributes=True)
    return ConnectionView.model_validate({**facts, "circuit": shown})


def run_view_of(run: Run) -> RunView:
    """As of now."""
    return RunView.model_validate(run, from_attributes=True)
