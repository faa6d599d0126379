"""Sort a tenant's contacts or documents under labels."""

from app.ai.classification import Question, classify, keep
from app.ai.failures import InputTooLong, Unlabelled
from app.ai.subjects import Kind, every
from app.jobs import AiClassify
from workers.ai import buyer, with_outcome
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome
from workers.runtime.registry import handles

SUBJECTS = 50
"""That one job asks about; its follower takes the next."""


@handles(AiClassify)
def ai_classify(ctx: Context, job: AiClassify) -> Outcome:
    """Answers are kept as they are paid for; the labels commit with the job's end."""
    return with_outcome(lambda: _classify(ctx, job))


def _classify(ctx: Context, job: AiClassify) -> Outcome:
    """A subject that gets no valid answer ends in a job of its own, which dies and says why."""
    kind = Kind(job.what)
    question = Question(kind=kind, name=job.name, labels=job.labels, instruction=job.instruction)
    ids, later = (job.ids[:SUBJECTS], job.ids[SUBJECTS:]) if job.ids else (None, [])
    with ctx.read() as db:
        page = every(db, ctx.tenant_id, kind, after=job.after, ids=ids, limit=SUBJECTS)
    found, failed = [], []
    with buyer(ctx, "classify") as who:
        for subject in ctx.checked(page.subjects):
            try:
                found.append(classify(who, question, subject))
            except (InputTooLong, Unlabelled) as bad:
                if job.ids is not None and len(job.ids) == 1:
                    return Dead(str(bad), bad.code)
                failed.append(subject.id)
    with ctx.transaction() as tx:
        for each in filter(None, found):
            keep(tx, ctx.tenant_id, question, each)
    then = [job.model_copy(update={"ids": [each], "after": None}) for each in failed]
    if later:
        then.append(job.model_copy(update={"ids": later}))
    if page.after is not None:
        then.append(job.model_copy(update={"after": page.after}))
    return Done(then=then)
