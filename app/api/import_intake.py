"""An upload that becomes an import."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from app.api.accept import CheckSize, Kind, Stored
from app.api.idempotency import Answer
from app.api.import_view import accepted_answer
from app.api.upload_form import RAW_TYPES, Form
from app.imports.acceptance import Looked, accept, look
from app.imports.files import object_key
from app.imports.lifecycle import StoredFile
from app.imports.limits import check_open, limits_of
from app.settings import Settings
from app.tabular.detect import refuse_early


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that is stored and was looked at, and what came with it."""

    import_id: UUID
    file: StoredFile
    looked: Looked
    form: Form


Record = Callable[[Connection, UUID, Received], None]
"""Make an import of a tenant's file, in the caller's transaction. Raises InvalidRequest."""


def record_import(tx: Connection, tenant_id: UUID, received: Received) -> None:
    """A new import of the file."""
    accept(
        tx,
        tenant_id,
        received.import_id,
        received.file,
        received.looked,
        mapping=received.form.mapping,
        options=received.form.import_options,
    )


def import_kind(record: Record = record_import) -> Kind[Form, Received]:
    """A file that `record` makes an import of."""
    return Kind(
        raw_types=RAW_TYPES,
        key=object_key,
        admit=_admit,
        refuse_early=refuse_early,
        look=_look,
        facts=lambda form: (form.mapping or {}, form.options or {}),
        record=partial(_record, record),
    )


def _admit(tx: Connection, tenant_id: UUID, settings: Settings, repeated: bool) -> CheckSize:
    if not repeated:
        check_open(tx, tenant_id, settings)
    return limits_of(tx, tenant_id, settings).check_size


def _look(stored: Stored[Form]) -> Received:
    form, intake = stored.form, stored.intake
    with intake.open() as source:
        looked = look(source, form.filename, form.import_options, encoding=intake.encoding)
    file = StoredFile(
        object_key=intake.key,
        filename=form.filename,
        size=intake.size,
        sha256=stored.sha256,
        layout=looked.layout,
    )
    return Received(import_id=stored.id, file=file, looked=looked, form=form)


def _record(
    record: Record, tx: Connection, tenant_id: UUID, received: Received, request: str
) -> Answer:
    record(tx, tenant_id, received)
    return accepted_answer(tx, received.import_id, request)
