"""python3 -m infra.compose.smoke [--rows 20000] [--profiles proxy,observability] [--without NAME,...] [--keep]

Exit status 1 when a row is lost or doubled, or a step fails or takes too long.
"""

import argparse
import contextlib
import http.client
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from infra.compose.smoke.errors import SmokeError
from infra.compose.smoke.stack import (
    ROOT,
    WEB_REPLICAS,
    WORKER_REPLICAS,
    Stack,
    free_ports,
)
from infra.compose.smoke.steps import Smoke, step

TOTAL_SECONDS = 40 * 60
REMOVE = ("down", "--volumes", "--remove-orphans")


@contextlib.contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise SmokeError in the main thread after `seconds`."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise SmokeError(f"not done within {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def make_stack(folder: Path, *, profiles: list[str], without: list[str]) -> Stack:
    """With an .env of its own, whose links lead to the proxy's port."""
    env_file = folder / "env"
    script = ROOT / "infra" / "compose" / "make-env.sh"
    subprocess.run([script, env_file], check=True, stdout=subprocess.DEVNULL)
    stack = Stack(env_file, ["proxy", *profiles], frozenset(without), free_ports())
    door = f"http://127.0.0.1:{stack.port('PROXY')}"
    stack.env |= {
        "MILLRACE_PUBLIC_URL": door,
        "MILLRACE_S3_PUBLIC_ENDPOINT_URL": door,
        "MILLRACE_PROCESSES": f"web={WEB_REPLICAS} dispatcher=1 high=1 default={WORKER_REPLICAS} low=1",
    }
    if "clamav" in profiles:
        stack.env["MILLRACE_CLAMD_URL"] = "tcp://clamav:3310"
    if "pgbouncer" in profiles:
        password = stack.secrets["POSTGRES_PASSWORD"]
        stack.env |= {
            "DATABASE_ADDRESS": "pgbouncer:6432",
            "MILLRACE_DATABASE_DIRECT_URL": f"postgresql://millrace:{password}@postgres:5432/millrace",
            "MILLRACE_POOLER_CONNECTIONS": "40",
        }
    return stack


def show(stack: Stack) -> None:
    """What is there, and the end of what it said."""
    with contextlib.suppress(SmokeError):
        print(stack.compose("ps", "--all"))
        print(stack.compose("logs", "--tail=15", "--no-color"))


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m infra.compose.smoke", description="Try docker-compose.yml out for real."
    )
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each of the big files")
    parser.add_argument(
        "--profiles", type=words, default=["observability"], help="besides `proxy`, with commas"
    )
    parser.add_argument("--without", type=words, default=[], help="services to leave out")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="millrace-smoke-"))
    stack = make_stack(folder, profiles=options.profiles, without=options.without)
    began = time.monotonic()
    try:
        with bounded(TOTAL_SECONDS):
            Smoke(stack, rows=options.rows).run()
    except (SmokeError, OSError, http.client.HTTPException, KeyboardInterrupt) as error:
        print(f"FAILED: {str(error) or repr(error)}", file=sys.stderr)
        show(stack)
        return 1
    finally:
        if options.keep:
            print(f"left running; to remove it: {stack.in_words} {' '.join(REMOVE)}")
        else:
            step("down -v", lambda: stack.compose(*REMOVE, seconds=240) or "removed")
            shutil.rmtree(folder)
    print(f"passed in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
