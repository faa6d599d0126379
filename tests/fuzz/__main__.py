"""`python -m tests.fuzz --seconds 3600`: fuzz for so long; exit status 1 when a promise broke.

`python -m tests.fuzz FILE...` replays inputs that the fuzzer kept. Everything is below .local/fuzz:
`seeds` from the corpus of odd files, `corpus` that the fuzzer grows, `found` with what broke.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from infra.local.layout import ROOT
from infra.local.locked import packages
from tests.corpus.generate import corpus
from tests.fuzz.promises import SMALL_BLOCKS, check_input

HOME = ROOT / ".local" / "fuzz"
SEED_BYTES = 2_000
MAX_BYTES = 6_000
SECONDS_EACH = 60
"""By the wall clock: more than that is a hang also on a busy machine."""
MEMORY_MB = 1_024
MOST_DEATHS = 25
"""The fuzzer starts again after each; more than these are one fault that it can't get past."""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("files", nargs="*", type=Path)
    arguments.add_argument("--seconds", type=int, default=60)
    asked = arguments.parse_args()
    if asked.files:
        for path in asked.files:
            check_input(path.read_bytes())
        return 0
    return fuzz(asked.seconds)


def fuzz(seconds: int) -> int:
    """Until the time is up, or the fuzzer died too often."""
    for name in ("seeds", "corpus", "found"):
        (HOME / name).mkdir(parents=True, exist_ok=True)
    write_seeds(HOME / "seeds")
    library = packages("fuzz")
    began, deadline = time.time(), time.monotonic() + seconds
    deaths = 0
    while (left := deadline - time.monotonic()) > 1 and deaths < MOST_DEATHS:
        deaths += _run(library, max(1, round(left)))
    found = [path for path in (HOME / "found").iterdir() if path.stat().st_mtime >= began]
    lines = [f"{len(found)} findings", *(str(path) for path in sorted(found))]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


def write_seeds(folder: Path) -> None:
    """The smaller files of the corpus as they are, every other one to be read in small blocks."""
    for number, case in enumerate(corpus()):
        if len(case.data) <= SEED_BYTES:
            name = hashlib.sha256(case.data).hexdigest()[:16]
            (folder / name).write_bytes(bytes([number % 2 * SMALL_BLOCKS]) + case.data)


def _run(library: Path, seconds: int) -> int:
    """1 when the fuzzer died of an input: a hang, or memory."""
    options = {
        "max_total_time": seconds,
        "timeout": SECONDS_EACH,
        "report_slow_units": SECONDS_EACH,
        "rss_limit_mb": MEMORY_MB,
        "max_len": MAX_BYTES,
        "dict": Path(__file__).with_name("tokens.dict"),
        "artifact_prefix": f"{HOME / 'found'}/",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tests.fuzz.harness"]
    command += [str(HOME / name) for name in ("found", "corpus", "seeds")]
    command += [f"-{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "PYTHONPATH": str(library)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
