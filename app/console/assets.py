"""Styles, scripts and fonts: held in memory, named by what they hold, and cached for good.

The version in their address is a hash over all of them, so that a page and what it loads fit together, and
modules can import each other by relative paths. During a rolling deploy a page may ask a process of
another version: it gets that one's file, uncached.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Response

from app.errors import NotFound

FOLDER = Path(__file__).with_name("static")
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by their path below `static/`."""

    files: Mapping[str, bytes]
    version: str

    def url(self, name: str) -> str:
        """Raises KeyError for a file that doesn't exist, so that a template can't name one."""
        if name not in self.files:
            raise KeyError(name)
        return f"/console/static/{self.version}/{name}"

    def answer(self, version: str, name: str) -> Response:
        """Raises NotFound."""
        content = self.files.get(name)
        if content is None:
            raise NotFound(f"There is no file {name!r}.")
        suffix = Path(name).suffix
        return Response(
            content,
            media_type=TYPES.get(suffix) or mimetypes.guess_type(name)[0],
            headers={"Cache-Control": FOREVER if version == self.version else "no-store"},
        )


def load_assets(folder: Path = FOLDER) -> Assets:
    """Read them all; a few hundred kilobytes."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Assets(files, digest.hexdigest()[:12])
