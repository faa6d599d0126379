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
