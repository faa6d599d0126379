"""Where RabbitMQ is on this machine, and how it gets there."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.errors import MissingProgram

POLICY = Path("/usr/sbin/policy-rc.d")

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
        raise MissingProgram(f"RabbitMQ is missing; install it with: {_command()}")
    return found


def plugins() -> Path | None:
    """The folder that holds RabbitMQ's own libraries and its plugins."""
    found = server().resolve().parent.parent / "plugins"
    return found if found.is_dir() else None


def epmd() -> Path:
    """Erlang's port mapper. Raises MissingProgram."""
    found = shutil.which("epmd") or next(_epmd_of_erl(), None)
    if found is None:
        raise MissingProgram(f"epmd (of Erlang) is missing; install it with: {_command()}")
    return Path(found)


def ensure_installed(say: Callable[[str], None]) -> None:
    """Install RabbitMQ where it is missing and we may. Raises MissingProgram with the command."""
    if find_server() is not None:
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        say("installing RabbitMQ (apt-get install rabbitmq-server) ...")
        _apt_install()
    elif brew := _brew():
        say("installing RabbitMQ (brew install rabbitmq) ...")
        _run([brew, "install", "rabbitmq"])
    server()


def _apt_install() -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "PATH": _system_path()}
    with _services_stay_down():
        _run(["apt-get", "update", "-qq"], quiet)
        _run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "rabbitmq-server"],
            quiet,
        )


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Keep the distribution's own broker from starting: nobody asked for that one."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Raises MissingProgram, with the tool's last words, when the command fails."""
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        words = done.stdout.strip().splitlines()[-5:]
        raise MissingProgram(
            f"could not install RabbitMQ: `{' '.join(command)}` failed: {' / '.join(words)}"
        )


def _system_path() -> str:
    """dpkg needs the sbin folders, which a root shell made by `su` may lack."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def _brew() -> str | None:
    return shutil.which("brew") if os.geteuid() != 0 else None


def _command() -> str:
    if platform.system() == "Darwin":
        return "brew install rabbitmq"
    if shutil.which("apt-get"):
        return "sudo apt-get install --no-install-recommends rabbitmq-server"
    return "your system's package manager (package rabbitmq-server)"


def _epmd_of_erl() -> Iterator[str]:
    erl = shutil.which("erl")
    for root in Path(erl).resolve().parents[:3] if erl else ():
        for pattern in ("erts-*/bin/epmd", "lib/erlang/erts-*/bin/epmd"):
            yield from map(str, root.glob(pattern))
