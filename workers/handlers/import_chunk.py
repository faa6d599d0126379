"""Import one chunk of a file."""

from app.imports import lifecycle
from app.imports.contacts import ContactCleaner
from app.imports.records import RecordReader
from app.imports.upsert import keep_rejects, upsert_contacts
from app.jobs import ImportChunk
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles


@handles(ImportChunk)
def import_chunk(ctx: Context, job: ImportChunk) -> Outcome:
    """Upsert one chunk; safe to run again: the chunk's rows and its tick commit together."""
    with ctx.read() as db:
        source = lifecycle.load_open(db, job.import_id)
        if source is None:
            return Cancel("The import has ended already.")
        chunk = lifecycle.load_chunk(db, job.import_id, job.index)
    if chunk is None:
        return Cancel("This part of the file is imported already.")
    data = ctx.storage.read_range(source.object_key, chunk.start, chunk.end)
    cleaner = ContactCleaner(source.columns, source.fields)
    rows = cleaner.clean(
        RecordReader([data], start=chunk.start),
        first_row=chunk.first_row,
        superseded=chunk.superseded,
    )
    with ctx.transaction() as tx:
        tally = upsert_contacts(tx, ctx.tenant_id, rows.contacts)
        keep_rejects(tx, ctx.tenant_id, job.import_id, rows.rejects)
        then = lifecycle.tick(
            tx, job.import_id, job.index, chunk, tally, rows=rows.total, rejected=len(rows.rejects)
        )
    return Done(then=then)
