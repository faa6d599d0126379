"""Make a tenant's documents findable by meaning."""

from app.ai.subjects import Kind
from app.jobs import AiEmbedDocuments
from workers.ai import embed_subjects, with_outcome
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(AiEmbedDocuments)
def ai_embed_documents(ctx: Context, job: AiEmbedDocuments) -> Outcome:
    """Vectors are kept as they are paid for; what ties documents to them commits with the job's end."""
    return with_outcome(lambda: embed_subjects(ctx, job, Kind.DOCUMENTS, "embed_documents"))
