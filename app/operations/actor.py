"""Who acts: a key with a role, or somebody at the command line."""

import getpass
import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from app.errors import Forbidden
from app.keys import KeyInForce
from app.ledger.job_error import printable
from app.roles import Role


class Via(StrEnum):
    """Where the action was asked for."""

    CONSOLE = "console"
    API = "api"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """`name` is the key's, or user and host of a command line; that has no key and all leave: whoever can
    start a command has the database's password.
    """

    name: str
    role: Role
    via: Via
    key_id: UUID | None = None
    request_id: str | None = None

    @classmethod
    def with_key(cls, key: KeyInForce, request_id: str) -> Self:
        """Who calls the API with an operator's key."""
        return cls(
            name=key.name, role=key.role, via=Via.API, key_id=key.key_id, request_id=request_id
        )

    @classmethod
    def at_the_command_line(cls) -> Self:
        """Whoever started this process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user need not have a name
            user = f"uid {os.getuid()}"
        return cls(name=printable(f"{user}@{socket.gethostname()}"), role=Role.ADMIN, via=Via.CLI)

    def require(self, least: Role) -> None:
        """Raises Forbidden unless the role covers it."""
        if not self.role.covers(least):
            raise Forbidden(
                f"Your key's role is {self.role}; this takes {_article(least)}. Ask for a key made by: "
                f"millrace keys create --role {least}",
                code="role",
            )


def _article(role: Role) -> str:
    return f"an {role}" if role.value[0] in "ao" else f"a {role}"
