"""How many threads our processes have: what `pids_limit` of docker-compose.yml has to have room for."""

from pathlib import Path

OWN = 12
"""Of one process, at most, that are ours by name: leases, heartbeat, status page, chores, parts of an export."""
OF_A_CORE = 2
"""For each core of the machine: numpy has one, pyarrow another."""
READERS = 8
"""pyarrow's, on any machine."""


def at_most(processes: int, *, cores: int) -> int:
    return processes * (OWN + READERS + OF_A_CORE * cores)


def of_tree(pid: int) -> int:
    """Of the process and of all that it started, now."""
    task = Path("/proc", str(pid), "task")
    below = [
        int(child) for one in task.iterdir() for child in (one / "children").read_text().split()
    ]
    return len(list(task.iterdir())) + sum(of_tree(child) for child in below)
