"""Extract the text of a document."""

from app.errors import InvalidRequest
from app.files import making, store
from app.jobs import FileExtractText, FileScan
from app.scanning import gate
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError
from workers.runtime.registry import handles


@handles(FileExtractText)
def file_extract_text(ctx: Context, job: FileExtractText) -> Outcome:
    """Extract it; safe to run again: the row names this attempt's object, or another's."""
    with ctx.read() as db:
        file = store.find(db, ctx.tenant_id, job.file_id)
    if file is None or not file.readable or file.text_state != "waiting":
        return Cancel("The file is deleted, or its text is extracted.")
    if file.state == "uploaded" and gate.is_on(ctx.settings):
        with ctx.transaction() as tx:
            store.scan_first(tx, file.id)
        return Done(then=[FileScan(file_id=file.id)])
    attempt = f"{ctx.job.id.hex}-{ctx.job.attempt}"
    try:
        found = making.extract_text(ctx.storage, file, attempt, ctx.checked)
    except InvalidRequest as refused:
        raise PermanentError(str(refused), code=refused.code) from refused
    with ctx.transaction() as tx:
        store.text_done(
            tx,
            file.id,
            key=found.key,
            text_=found.text,
            truncated=found.truncated,
            excerpt=found.excerpt,
        )
    return Done()
