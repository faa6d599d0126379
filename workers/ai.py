"""What the AI jobs have in common: who pays, and what a failure of the model means for the job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.ai.buying import Buyer
from app.ai.failures import (
    AiFailure,
    BudgetExhausted,
    Contended,
    InvalidAnswer,
    Paced,
    ProviderAway,
)
from app.ai.indexing import keep, prepare
from app.ai.provider import open_provider
from app.ai.subjects import Kind, changed
from app.jobs import AiEmbedContacts, AiEmbedDocuments
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome, Retry, Snooze

SUBJECTS = 200
"""That one job embeds; its follower takes the next."""
CONTENDED_SECONDS = 1.0


@contextmanager
def buyer(ctx: Context, purpose: str) -> Iterator[Buyer]:
    """The job's tenant, asking the provider that the settings name. Raises NotConfigured."""
    with open_provider(ctx.settings) as provider:
        yield Buyer(
            tenant_id=ctx.tenant_id,
            owner=ctx.job.id,
            purpose=purpose,
            settings=ctx.settings,
            provider=provider,
            engine=ctx.engine,
            check=ctx.check,
        )


def with_outcome(work: Callable[[], Outcome]) -> Outcome:
    """The work's outcome, or what its failure means: try again, wait, or die with a code that says why."""
    try:
        return work()
    except Paced as paced:
        return Snooze(paced.seconds)
    except Contended:
        return Snooze(CONTENDED_SECONDS)
    except ProviderAway as away:
        return Retry(str(away), after_seconds=away.after_seconds)
    except InvalidAnswer as invalid:
        return Retry(str(invalid))
    except (AiFailure, BudgetExhausted) as final:
        return Dead(str(final), final.code)


def embed_subjects(
    ctx: Context, job: AiEmbedContacts | AiEmbedDocuments, kind: Kind, purpose: str
) -> Outcome:
    """Embed the next subjects. One that is too long for the model ends in a job of its own, which dies."""
    with buyer(ctx, purpose) as who:
        with ctx.read() as db:
            page = changed(
                db,
                ctx.tenant_id,
                kind,
                who.provider.space,
                after=job.after,
                ids=job.ids,
                limit=SUBJECTS,
            )
        ready = prepare(who, kind, page.subjects)
    if ready.failed and job.ids is not None and len(job.ids) == 1:
        return Dead(
            f"The text of {ready.failed[0]} is too long for the model.", "ai_input_too_long"
        )
    with ctx.transaction() as tx:
        keep(tx, ctx.tenant_id, ready)
    alone = [type(job)(ids=[failed]) for failed in ready.failed]
    rest = _rest(job, [each.id for each in page.subjects], page.after)
    return Done(then=[*alone, *rest])


def _rest(
    job: AiEmbedContacts | AiEmbedDocuments, seen: list[object], after: object
) -> list[AiEmbedContacts | AiEmbedDocuments]:
    """What goes on behind this job."""
    if job.ids is None:
        return [] if after is None else [type(job).model_validate({"after": after})]
    left = [each for each in job.ids if each not in seen] if len(seen) == SUBJECTS else []
    return [type(job)(ids=left)] if left else []
