"""What the process may use, set before the first byte of the file is looked at."""

import ctypes
import resource
import signal
import sys

from app.files.protocol import Limits

_DIE_WITH_PARENT = 1
_OPEN_FILES = 64


def confine(limits: Limits) -> None:
    """Bound memory (on Linux: macOS doesn't count address space), processor time and the reply's size; leave no core
    file; end with the parent.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.reply_bytes, limits.reply_bytes))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
