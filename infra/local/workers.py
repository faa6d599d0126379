"""The workers of the local system."""

import os
from collections.abc import Mapping

MOST_CHILDREN = 8
"""Of a worker, however many cores there are: each may open four of PostgreSQL's connections, and takes 100 MB."""


def children_on(cores: int) -> int:
    """How many jobs of the pool `default` run at a time."""
    return min(MOST_CHILDREN, max(2, cores))


WORKERS: Mapping[str, tuple[str, int]] = {
    "worker-high": ("high", 1),
    "worker-default": ("default", children_on(os.cpu_count() or 1)),
    "worker-low": ("low", 2),
}
"""Program name -> its queue, and how many jobs it runs at a time."""
PROCESSES = " ".join(f"{queue}=1x{children}" for queue, children in WORKERS.values())
"""MILLRACE_PROCESSES, where they are all that run."""
