"""What a process told the database that made no sense there. Faults strike servers and lines, and none of them makes
a statement wrong: that is the process's own doing, also where another try got over it.
"""

import re
from collections.abc import Iterator

from tests.chaos.stage import DISPATCHERS, WEBS, Stage

_BLUNDER = re.compile(r"\w(\[(?:26|34|3F|42)\w{3}\])")
"""Errors by SQLSTATE, as `app.logs.cause` names them: statements, cursors or schemas that aren't there, and syntax."""


def blunders(stage: Stage) -> Iterator[str]:
    """The first of each sort and process, from its log."""
    for name in (*WEBS, *DISPATCHERS, *stage.workers):
        yield from found_in(name, stage.system.layout.log_of(name).read_text(errors="replace"))


def found_in(name: str, log: str) -> Iterator[str]:
    """As `blunders`, in the log of the process `name`."""
    told: set[str] = set()
    for line in log.splitlines():
        found = _BLUNDER.search(line)
        if found and found[1] not in told:
            told.add(found[1])
            yield f"{name}: {line.strip()[:300]}"
