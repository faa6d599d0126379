"""What follows when a job of a kind ends without success, or is replayed: the product's own table."""

from app.exports import aftermath as exports
from app.files import aftermath as files
from app.imports import aftermath as imports
from app.jobs import (
    ExportFinish,
    ExportPart,
    ExportTable,
    FileExtractText,
    FileMakeVariants,
    FileScan,
    ImportApplyAll,
    ImportChunk,
    ImportPlan,
    ImportUndoChunk,
    SyncPull,
    SyncPush,
    WebhookDeliver,
)
from app.ledger.aftermath import Aftermath, Aftermaths
from app.sync import aftermath as sync
from app.webhooks import aftermath as webhooks

AFTERMATHS: Aftermaths = {
    aftermath.contract.spec.kind: aftermath
    for aftermath in (
        Aftermath(contract=ImportPlan, ended=imports.plan_ended, revived=imports.plan_revived),
        Aftermath(contract=ImportChunk, ended=imports.chunk_ended, revived=imports.chunk_revived),
        Aftermath(contract=ImportApplyAll, ended=imports.all_ended, revived=imports.all_revived),
        Aftermath(contract=ImportUndoChunk, ended=imports.undo_ended, revived=imports.undo_revived),
        Aftermath(
            contract=WebhookDeliver,
            ended=webhooks.deliver_ended,
            revived=webhooks.deliver_revived,
        ),
        Aftermath(contract=ExportTable, ended=exports.table_ended, revived=exports.table_revived),
        Aftermath(contract=ExportPart, ended=exports.part_ended, revived=exports.part_revived),
        Aftermath(
            contract=ExportFinish, ended=exports.finish_ended, revived=exports.finish_revived
        ),
        Aftermath(contract=SyncPull, ended=sync.ended, revived=sync.revived),
        Aftermath(contract=SyncPush, ended=sync.ended, revived=sync.revived),
        *(
            Aftermath(contract=contract, ended=files.ended, revived=files.revived)
            for contract in (FileScan, FileMakeVariants, FileExtractText)
        ),
    )
}
