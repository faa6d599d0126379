"""What the product does in the background: the list of this folder, and the catalog that the workers serve."""

from app.jobs.import_chunk import ImportChunk
from app.jobs.import_finished_mail import ImportFinishedMail
from app.jobs.import_plan import ImportPlan
from app.ledger.contract import catalog

__all__ = ["CATALOG", "ImportChunk", "ImportFinishedMail", "ImportPlan"]

CATALOG = catalog((ImportPlan, ImportChunk, ImportFinishedMail))
