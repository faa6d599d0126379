"""Make a tenant's contacts findable by meaning."""

from app.ai.subjects import Kind
from app.jobs import AiEmbedContacts
from workers.ai import embed_subjects, with_outcome
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(AiEmbedContacts)
def ai_embed_contacts(ctx: Context, job: AiEmbedContacts) -> Outcome:
    """Vectors are kept as they are paid for; what ties contacts to them commits with the job's end."""
    return with_outcome(lambda: embed_subjects(ctx, job, Kind.CONTACTS, "embed_contacts"))
