"""What the product does in the background: the list of this folder, and the catalog that the workers serve."""

from app.jobs.ai_classify import AiClassify
from app.jobs.ai_embed_contacts import AiEmbedContacts
from app.jobs.ai_embed_documents import AiEmbedDocuments
from app.jobs.clean_up import CleanUp
from app.jobs.export_finish import ExportFinish
from app.jobs.export_part import ExportPart
from app.jobs.export_table import ExportTable
from app.jobs.file_extract_text import FileExtractText
from app.jobs.file_make_variants import FileMakeVariants
from app.jobs.file_scan import FileScan
from app.jobs.import_apply_all import ImportApplyAll
from app.jobs.import_chunk import ImportChunk
from app.jobs.import_finished_mail import ImportFinishedMail
from app.jobs.import_plan import ImportPlan
from app.jobs.import_undo_chunk import ImportUndoChunk
from app.jobs.payment_apply_event import PaymentApplyEvent
from app.jobs.payment_failed_mail import PaymentFailedMail
from app.jobs.report_daily import ReportDaily
from app.jobs.report_monthly import ReportMonthly
from app.jobs.report_monthly_done import ReportMonthlyDone
from app.jobs.report_monthly_run import ReportMonthlyRun
from app.jobs.report_ready_mail import ReportReadyMail
from app.jobs.sync_pull import SyncPull
from app.jobs.sync_push import SyncPush
from app.jobs.sync_run import SyncRun
from app.jobs.trial_ending_mail import TrialEndingMail
from app.jobs.trial_expired_mail import TrialExpiredMail
from app.jobs.trials_expire import TrialsExpire
from app.jobs.webhook_deliver import WebhookDeliver
from app.jobs.welcome_mail import WelcomeMail
from app.ledger.contract import catalog

__all__ = [
    "CATALOG",
    "AiClassify",
    "AiEmbedContacts",
    "AiEmbedDocuments",
    "CleanUp",
    "ExportFinish",
    "ExportPart",
    "ExportTable",
    "FileExtractText",
    "FileMakeVariants",
    "FileScan",
    "ImportApplyAll",
    "ImportChunk",
    "ImportFinishedMail",
    "ImportPlan",
    "ImportUndoChunk",
    "PaymentApplyEvent",
    "PaymentFailedMail",
    "ReportDaily",
    "ReportMonthly",
    "ReportMonthlyDone",
    "ReportMonthlyRun",
    "ReportReadyMail",
    "SyncPull",
    "SyncPush",
    "SyncRun",
    "TrialEndingMail",
    "TrialExpiredMail",
    "TrialsExpire",
    "WebhookDeliver",
    "WelcomeMail",
]

CATALOG = catalog(
    (
        ImportPlan,
        ImportChunk,
        ImportApplyAll,
        ImportUndoChunk,
        ImportFinishedMail,
        PaymentApplyEvent,
        ExportTable,
        ExportPart,
        ExportFinish,
        ReportDaily,
        ReportMonthly,
        ReportMonthlyRun,
        ReportMonthlyDone,
        ReportReadyMail,
        WelcomeMail,
        TrialsExpire,
        TrialEndingMail,
        TrialExpiredMail,
        PaymentFailedMail,
        WebhookDeliver,
        FileScan,
        FileMakeVariants,
        FileExtractText,
        CleanUp,
        AiEmbedContacts,
        AiEmbedDocuments,
        AiClassify,
        SyncRun,
        SyncPull,
        SyncPush,
    )
)
