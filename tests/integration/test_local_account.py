"""The account that a local PostgreSQL runs under."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from uuid import uuid4

import pytest

from infra.local.postgres import binaries

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts, and needs one")
USE = """
import sys
from pathlib import Path
from infra.local import account
account.ACCOUNT = sys.argv[1]
print("ready", flush=True)
sys.stdin.read()
account.become_unprivileged(Path(sys.argv[2]), Path(sys.executable))
"""
PREPARE = """
import sys
from pathlib import Path
from infra.local import LocalError
from infra.local.postgres import Postgres
try:
    Postgres(folder=Path(sys.argv[1]), port=1, password="secret").prepare()
except LocalError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def name() -> Iterator[str]:
    made = f"millrace-{uuid4().hex[:12]}"
    yield made
    subprocess.run(["userdel", made], check=True, capture_output=True)


def test_processes_that_start_at_once_on_a_bare_machine_share_it(name: str, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    started = [
        Popen(
            [sys.executable, "-c", USE, name, str(folder)],
            text=True,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        for folder in folders
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert ends == [("", 0)] * len(folders)
    owner = pwd.getpwnam(name).pw_uid
    assert {folder.stat().st_uid for folder in folders} == {owner}


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter, with PostgreSQL's package in it."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    package = binaries().parents[1]
    (folder / package.name).symlink_to(package)
    return folder


def _prepare(closed: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Make a data directory in it, with the programs that are in it."""
    paths = os.pathsep.join([str(closed), str(Path.cwd())])
    return subprocess.run(
        [*before, sys.executable, "-c", PREPARE, str(closed / "postgres")],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
        capture_output=True,
        text=True,
    )


def test_postgresql_is_set_up_below_a_folder_that_only_root_may_enter(closed: Path) -> None:
    done = _prepare(closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert (closed / "postgres" / "data" / "PG_VERSION").exists()


def test_a_folder_that_its_account_may_not_enter_is_named(closed: Path) -> None:
    """Root without that capability, as in a container that has dropped it."""
    ways = (*reversed(closed.parents), closed)  # pytest's own may be root's alone too
    first = next(way for way in ways if not way.stat().st_mode & 0o001)
    done = _prepare(closed, "setpriv", "--bounding-set=-dac_override")
    assert done.returncode
    assert "the account millrace-local, which servers run under" in done.stderr
    assert f"may not enter {first}: `chmod o+x {first}`" in done.stderr
