"""The parts of a contract's text that are about keys."""

from app.ledger.uniqueness import UniqueUntil
from infra.local.new_job.order import Order

_NEW_JOB = '''
    def new_job(self) -> NewJob:
        """{about} Enqueue it by this."""
        return NewJob(
            job=self,
{arguments}
        )
'''


def key_imports(order: Order) -> set[str]:
    """What the lines below need."""
    keys = order.keys
    needs: set[str] = set()
    if keys.concurrency_key is not None:
        needs.add("from app.ledger.concurrency import Concurrency")
    if keys.unique_key is not None:
        needs.add("from app.ledger.enqueue import NewJob")
    names = [
        *(["Debounce"] if keys.debounce is not None else []),
        *(["UniqueUntil"] if keys.unique_until is not None else []),
    ]
    if names:
        needs.add(f"from app.ledger.uniqueness import {', '.join(names)}")
    return needs


def declared_keys(order: Order) -> list[str]:
    """Lines of the spec."""
    keys = order.keys
    lines: list[str] = []
    if keys.concurrency_key is not None:
        limit = "" if keys.concurrency_limit == 1 else f", limit={keys.concurrency_limit}"
        in_order = ", in_order=True" if keys.in_order else ""
        lines.append(f'concurrency=Concurrency(key="{keys.concurrency_key}"{limit}{in_order}),')
    if keys.affinity:
        lines.append("affinity=True,")
    return lines


def text_of_new_job(order: Order) -> str:
    """The contract's `new_job`, which has the unique key and its window; empty without one."""
    keys = order.keys
    if keys.unique_key is None:
        return ""
    is_text = dict(order.fields)[keys.unique_key].annotation == "str"
    value = f"self.{keys.unique_key}"
    arguments = [f"unique_key={value if is_text else f'str({value})'}"]
    if keys.unique_for is not None:
        arguments.append(f"unique_for={keys.unique_for}")
    if keys.unique_until is not None:
        arguments.append(f"unique_until=UniqueUntil.{UniqueUntil(keys.unique_until).name}")
    if keys.debounce is not None:
        most = "" if keys.debounce_max is None else f", max_seconds={keys.debounce_max}"
        arguments.append(f"debounce=Debounce(seconds={keys.debounce}{most})")
    return _NEW_JOB.format(
        about="Posts that come close together are one job."
        if keys.debounce is not None
        else f"At most one of each {keys.unique_key}.",
        arguments="\n".join(f"            {argument}," for argument in arguments),
    )
