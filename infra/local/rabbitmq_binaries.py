"""Where RabbitMQ is on this machine, and how it gets there."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure

PACKAGES = ("rabbitmq-server",)
FORMULAE = ("rabbitmq",)

SERVERS = (
    # The script itself: Debian's /usr/sbin/rabbitmq-server wants to switch to a system user.
    Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),
    Path("/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/usr/local/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/opt/rabbitmq/sbin/rabbitmq-server"),
)


def find_server() -> Path | None:
    """The foreground start script of RabbitMQ, or None."""
    return next((path for path in SERVERS if path.exists()), None)


def server() -> Path:
    """As `find_server`. Raises MissingProgram."""
    found = find_server()
    if found is None:
        raise MissingProgram(
            f"RabbitMQ is missing; install it with: {command_for(PACKAGES, FORMULAE)}"
        )
    return found


def plugins() -> Path | None:
    """The folder that holds RabbitMQ's own libraries and its plugins."""
    found = server().resolve().parent.parent / "plugins"
    return found if found.is_dir() else None


def epmd() -> Path:
    """Erlang's port mapper. Raises MissingProgram."""
    found = shutil.which("epmd") or next(_epmd_of_erl(), None)
    if found is None:
        raise MissingProgram(
            f"epmd (of Erlang) is missing; install it with: {command_for(PACKAGES, FORMULAE)}"
        )
    return Path(found)


def ensure_installed(say: Callable[[str], None]) -> None:
    """Install RabbitMQ where it is missing and we may. Raises MissingProgram with the command."""
    ensure("RabbitMQ", _is_there, debian=PACKAGES, brew=FORMULAE, say=say)
    server()


def _is_there() -> bool:
    return find_server() is not None


def _epmd_of_erl() -> Iterator[str]:
    erl = shutil.which("erl")
    for root in Path(erl).resolve().parents[:3] if erl else ():
        for pattern in ("erts-*/bin/epmd", "lib/erlang/erts-*/bin/epmd"):
            yield from map(str, root.glob(pattern))
