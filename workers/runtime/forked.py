"""A process that a handler forks, and doesn't end, ends with the handler's call. It would go on as a second child of the pool: take back the
transaction on the connection that both have, answer for the job, and read the messages that are meant for the first.
"""

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def call_here(
    handler: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Answer:
    """What the handler answers or raises, in the process that calls it and in no other."""
    here, status = os.getpid(), 1
    try:
        answer = handler(*arguments, **named)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        if os.getpid() != here:
            os._exit(status)
    return answer
