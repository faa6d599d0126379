"""Every command of ours can be read by a script."""

from collections.abc import Iterator
from typing import Any

import typer

from app import cli

PROCESSES = {"web", "dispatcher"}


def commands(command: Any, *path: str) -> Iterator[tuple[str, set[str]]]:
    """Each with its options. `command` is a group, or a command of Click's."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), {option for each in command.params for option in each.opts}
        return
    for name, one in inner.items():
        yield from commands(one, *path, name)


def test_all_but_the_processes_print_json_where_they_are_asked_to() -> None:
    found = dict(commands(typer.main.get_command(cli.app)))
    assert len(found) > 50
    assert {name for name, options in found.items() if "--json" not in options} == PROCESSES
