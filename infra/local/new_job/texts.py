"""The text of each new file."""

from infra.local.new_job.key_texts import declared_keys, key_imports, text_of_new_job
from infra.local.new_job.order import LIMITS, TRIES, FieldType, Order

_CONTRACT = '''"""{title}."""

{imports}

{ours}


class {cls}(JobContract):
    """{about}"""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="{kind}",
        queue=Queue.{queue},
        retry=RetryPolicy(attempts={tries}, base_seconds=2, cap_seconds=600),
        soft_seconds={soft},
        hard_seconds={hard},{keys}
    )
'''
_CONTRACT_IMPORTS = frozenset(
    {
        "from app.broker.topology import Queue",
        "from app.ledger.contract import JobContract, JobSpec",
        "from app.ledger.retry import RetryPolicy",
    }
)
_HANDLER = '''"""{title}."""

import structlog

from app.jobs import {cls}
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles

log = structlog.get_logger()


@handles({cls})
def {name}(ctx: Context, job: {cls}) -> Outcome:
    """Safe to run again: what it writes by `ctx.transaction()` commits with the job's end, or not at all."""
    log.info("{name}.ran", job_id=str(ctx.job.id), version=job.spec.version)
    return Done()
'''
_TEST = '''"""{title}: it runs to its end, once."""

{imports}

JOB = {cls}({values})


def test_it_runs_to_its_end(worker: Worker, engine: Engine, tenant: Customer) -> None:
    job_id = add_queued(engine, tenant.id, JOB)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"


def test_a_second_message_finds_nothing_to_do(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    job_id = add_queued(engine, tenant.id, JOB)
    for _ in range(2):
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert events(engine, job_id).count("succeed") == 1
'''
_TEST_KEY = """

def test_posts_with_one_unique_key_are_one_job(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        first, second = enqueue_many(tx, tenant.id, [JOB.new_job(), JOB.new_job()])
    assert (first.created, second) == (True, Enqueued(first.id, created=False))
"""
_TEST_IMPORTS = (
    "from app.jobs import {cls}",
    "from tests.support.customers import Customer",
    "from tests.support.jobs import add_queued, events, job_facts",
    "from tests.support.runtime import Worker",
    "from workers.runtime.executor import Disposition",
)


def text_of_contract(order: Order) -> str:
    """`app/jobs/<name>.py`."""
    soft, hard = LIMITS[order.queue]
    needs = {field.needs for _, field in order.fields if field.needs}
    text = _CONTRACT.format(
        title=_title(order),
        imports="\n".join(sorted({"from typing import ClassVar", *needs}, key=_module)),
        ours="\n".join(sorted(_CONTRACT_IMPORTS | key_imports(order), key=_module)),
        keys="".join(f"\n        {line}" for line in declared_keys(order)),
        cls=order.class_name,
        about="What the job is about." if order.fields else "The job's own tenant.",
        kind=order.kind,
        queue=order.queue.name,
        tries=TRIES,
        soft=soft,
        hard=hard,
    )
    lines = "".join(f"    {name}: {field.annotation}\n" for name, field in order.fields)
    return text + ("\n" + lines if lines else "") + text_of_new_job(order)


def text_of_handler(order: Order) -> str:
    """`workers/handlers/<name>.py`."""
    return _HANDLER.format(title=_title(order), cls=order.class_name, name=order.name)


def text_of_test(order: Order) -> str:
    """`tests/handlers/test_<name>.py`."""
    types = [field for _, field in order.fields]
    ours = {line.format(cls=order.class_name) for line in _TEST_IMPORTS}
    if order.keys.unique_key is not None:
        ours.add("from app.ledger.enqueue import Enqueued, enqueue_many")
    standard, own = _value_imports(types)
    groups = [
        *([standard] if standard else []),
        ["from sqlalchemy import Engine"],
        sorted(ours | own, key=_module),
    ]
    text = _TEST if order.keys.unique_key is None else _TEST + _TEST_KEY
    return text.format(
        title=_title(order),
        imports="\n\n".join("\n".join(group) for group in groups),
        cls=order.class_name,
        values=", ".join(f"{name}={field.value}" for name, field in order.fields),
    )


def readme_row(order: Order) -> str:
    """The job's line in the README's table."""
    soft, hard = LIMITS[order.queue]
    return (
        f"| `{order.kind}` | {order.queue.value} | {TRIES} | {soft} / {hard} s "
        "| what it writes commits with the job's end |"
    )


def _value_imports(types: list[FieldType]) -> tuple[list[str], set[str]]:
    needed = {field.value_needs for field in types if field.value_needs}
    own = {line for line in needed if line.startswith("from app.")}
    return sorted(needed - own, key=_module), own


def _module(line: str) -> str:
    return line.split()[1]


def _title(order: Order) -> str:
    return order.name.replace("_", " ").capitalize()
