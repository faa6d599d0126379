"""A real clamd with a tiny database of the test's own: it loads in a moment and knows two signatures."""

import subprocess
from pathlib import Path

from infra.local.clamd import ensure_clamd
from infra.local.errors import ProgramFailed
from infra.local.ports import LOOPBACK, accepts, choose_ports
from infra.local.waiting import until

VIRUS = "Millrace.Test"
BYTES = b"millrace " + bytes(reversed(b"erutangis tset"))
"""What the first signature looks for; put together here, so that no scanner minds our own files."""
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!" + b"$H+H*"
STREAM_MAX_BYTES = 4 * 1024 * 1024
FILE_MAX_BYTES = 3 * 1024 * 1024
_CONFIGURATION = """\
Foreground yes
TCPAddr {host}
TCPSocket {port}
LocalSocket {folder}/clamd.sock
DatabaseDirectory {folder}/database
TemporaryDirectory {folder}
LogFile {folder}/clamd.log
StreamMaxLength {stream}
MaxFileSize {file}
MaxScanSize {file}
AlertExceedsMax yes
DisableCache yes
User {user}
"""


class ClamdServer:
    """One daemon in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = choose_ports(["clamd"], folder / "ports.json", seed=str(folder))["clamd"]
        self.url = f"tcp://{LOOPBACK}:{self.port}"
        self.socket_url = f"unix://{folder}/clamd.sock"

    def start(self) -> None:
        """Returns when it scans. Raises infra.local.LocalError."""
        program = ensure_clamd(print)
        database = self._folder / "database"
        database.mkdir(exist_ok=True)
        lines = [f"{VIRUS}:0:*:{BYTES.hex()}", f"Eicar.Test:0:0:{EICAR.hex()}"]
        (database / "test.ndb").write_text("\n".join(lines) + "\n")
        configuration = self._folder / "clamd.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                host=LOOPBACK,
                port=self.port,
                folder=self._folder,
                stream=STREAM_MAX_BYTES,
                file=FILE_MAX_BYTES,
                user=self._folder.owner(),
            )
        )
        self._process = subprocess.Popen(
            [str(program), "--config-file", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = self._process
        until(lambda: process.poll() is not None or accepts(self.port), seconds=30)
        if not accepts(self.port):
            log = self._folder / "clamd.log"
            self.stop()
            raise ProgramFailed("clamd", "it didn't start", log.read_text() if log.exists() else "")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
