"""The gate: with a scanner configured, nothing passes that it hasn't found clean."""

from collections.abc import Callable, Iterable
from typing import BinaryIO

import structlog

from app.errors import ScannerAway, Unprocessable
from app.logs import cause
from app.scanning.clamd import CHUNK_BYTES, Clamd, Verdict
from app.settings import Settings
from app.storage import Storage

log = structlog.get_logger()

CODE = "infected"

Between = Callable[[Iterable[bytes]], Iterable[bytes]]
"""Wraps what takes long, to look now and then whether it is still wanted."""


def is_on(settings: Settings) -> bool:
    """Whether there is a scanner."""
    return settings.clamd_url is not None


def scan_object(settings: Settings, storage: Storage, key: str, between: Between) -> Verdict:
    """Scan an object of the store, streaming. Raises as `Clamd.scan` does; ValueError without a scanner."""
    return _scan(settings, key, between(storage.stream(key)))


def refuse_infected(settings: Settings, source: BinaryIO) -> None:
    """Scan a small file while its sender waits; it is at its beginning again afterwards. Does nothing
    without a scanner. Raises Unprocessable (`infected`), and as `Clamd.scan` does.
    """
    if not is_on(settings):
        return
    verdict = _scan(settings, None, iter(lambda: source.read(CHUNK_BYTES), b""))
    source.seek(0)
    if verdict.signature is not None:
        raise infected(verdict.signature)


def infected(signature: str) -> Unprocessable:
    """What to raise for a file in which the scanner has found something."""
    return Unprocessable(
        f"The virus scanner found {signature[:100]} in the file. It is deleted; clean it before you "
        "send it again.",
        code=CODE,
    )


def _scan(settings: Settings, key: str | None, blocks: Iterable[bytes]) -> Verdict:
    clamd = Clamd(settings.clamd_url or "", seconds=settings.clamd_timeout)
    try:
        verdict = clamd.scan(blocks)
    except ScannerAway as away:
        log.warning("scan.scanner_away", key=key, error=cause(away))
        raise
    if verdict.signature is not None:
        log.warning("scan.infected", key=key, signature=verdict.signature)
    return verdict
