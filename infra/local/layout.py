"""Where a local system keeps its things: everything is below one home folder."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

UNIX_SOCKET_PATH_MAX = 100
"""The kernels' limits are 104 (macOS) and 108 (Linux), and the server adds a suffix."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one home. `create()` makes the folders; nothing else does I/O."""

    home: Path

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def rabbitmq(self) -> Path:
        return self.home / "rabbitmq"

    @property
    def s3(self) -> Path:
        return self.home / "s3"

    @property
    def mail(self) -> Path:
        return self.home / "mail"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def supervisor_socket(self) -> Path:
        """Below the home, or in a private temporary folder where that path would be too long."""
        inside = self.run / "supervisor.sock"
        if len(str(inside)) <= UNIX_SOCKET_PATH_MAX:
            return inside
        return Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}-{self.digest}" / "s.sock"

    @property
    def digest(self) -> str:
        """Tells homes apart where a short name is needed."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:10]

    def log_of(self, program: str) -> Path:
        return self.log / f"{program}.log"

    def heartbeat_of(self, program: str) -> Path:
        return self.run / f"{program}.heartbeat"

    def create(self) -> None:
        for folder in (self.rabbitmq, self.s3, self.log, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)
        self.supervisor_socket.parent.mkdir(mode=0o700, exist_ok=True)
