"""Extract the text of a document, and make it findable where that was asked for."""

from uuid import UUID

from sqlalchemy import Connection

from app.ai.file_texts import keep_parts
from app.ai.provider import is_configured
from app.errors import InvalidRequest
from app.files import making, store
from app.files.store import StoredFile
from app.jobs import AiEmbedDocuments, FileExtractText, FileScan
from app.scanning import gate
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, PermanentError
from workers.runtime.registry import handles


@handles(FileExtractText)
def file_extract_text(ctx: Context, job: FileExtractText) -> Outcome:
    """Extract it; safe to run again: the row names this attempt's object, or another's, and the documents
    commit with that.
    """
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
        known = store.text_done(
            tx,
            file.id,
            key=found.key,
            text_=found.text,
            truncated=found.truncated,
            excerpt=found.excerpt,
        )
        made = _documents(tx, file, found.text) if known and file.searchable else []
    if not is_configured(ctx.settings):
        made = []  # kept all the same: embedding what is new finds them later
    return Done(then=[AiEmbedDocuments(ids=[each]) for each in made])


def _documents(tx: Connection, file: StoredFile, words: str) -> list[UUID]:
    return keep_parts(tx, file.tenant_id, file.id, filename=file.filename, words=words)
