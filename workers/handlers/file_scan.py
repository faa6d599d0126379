"""Have an uploaded file scanned for viruses."""

from app.errors import InvalidRequest, ScannerAway
from app.files import store
from app.files.acceptance import work_left
from app.files.store import StoredFile
from app.jobs import FileScan
from app.scanning import gate
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError, Snooze
from workers.runtime.registry import handles

SCANNER_AWAY_SECONDS = 15.0


@handles(FileScan)
def file_scan(ctx: Context, job: FileScan) -> Outcome:
    """Let a clean file on its way, delete an infected one; without a verdict it waits."""
    with ctx.read() as db:
        file = store.find(db, ctx.tenant_id, job.file_id)
    if file is None:
        return Cancel("The file has been deleted.")
    if file.state == "infected":
        return _remove(ctx, file)
    if file.state != "scanning":
        return Cancel("The file has been scanned already.")
    return _scan(ctx, file)


def _scan(ctx: Context, file: StoredFile) -> Outcome:
    if not gate.is_on(ctx.settings):
        return Snooze(SCANNER_AWAY_SECONDS)  # this worker knows of no scanner, but the API did
    try:
        verdict = gate.scan_object(ctx.settings, ctx.storage, file.object_key, ctx.checked)
    except ScannerAway:
        return Snooze(SCANNER_AWAY_SECONDS)
    except InvalidRequest as refused:
        raise PermanentError(str(refused), code=refused.code) from refused
    return (
        _clean(ctx, file) if verdict.signature is None else _infected(ctx, file, verdict.signature)
    )


def _clean(ctx: Context, file: StoredFile) -> Outcome:
    with ctx.transaction() as tx:
        known = store.clean(tx, file.id)
    return Done(then=work_left(file)) if known else Cancel("The file has been deleted.")


def _infected(ctx: Context, file: StoredFile, signature: str) -> Outcome:
    why = gate.infected(signature)
    with ctx.checkpoint({}) as tx:
        store.infected(tx, file.id, {"code": why.code, "message": str(why)})
    return _remove(ctx, file)


def _remove(ctx: Context, file: StoredFile) -> Outcome:
    """After the verdict is committed: whoever comes to an infected file finds that out first."""
    ctx.storage.delete(file.object_key)
    return Done()
