"""`python -m infra.local.manager CONFIG ENVIRONMENTS`: supervisord, tied to its launcher's life.

Standard input is the tether: the launcher holds its other end, and the kernel closes that end
however the launcher dies. Then everything is stopped in order, as if by SIGTERM.
"""

import json
import os
import signal
import sys
from pathlib import Path
from threading import Thread

from supervisor.options import ServerOptions
from supervisor.supervisord import go

REACTION_SECONDS = 0.1
"""supervisord looks after dead programs once per turn of its loop, and a turn may take a second."""


def main(config: str, environments: str) -> None:
    """`environments` is a JSON file, program to variables: supervisord's syntax cannot hold all."""
    options = ServerOptions()
    options.realize(["--nodaemon", "--configuration", config])
    options.first = True
    options.test = False
    variables = json.loads(Path(environments).read_text())
    for group in options.process_group_configs:
        for program in group.process_configs:
            program.environment = variables[program.name]
    poll = options.poller.poll
    options.poller.poll = lambda timeout: poll(min(timeout, REACTION_SECONDS))
    Thread(target=_end_with_launcher, daemon=True).start()
    go(options)


def _end_with_launcher() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
