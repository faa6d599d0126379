"""Which jobs a schedule may be for, and whether a payload fits."""

from typing import Any

from app.errors import Unprocessable
from app.ledger.contract import Catalog, JobContract, UnreadablePayload
from app.ledger.job_error import printable


def contract_of(catalog: Catalog, kind: str, *, public_only: bool) -> type[JobContract]:
    """The contract of a kind that may be scheduled, by a tenant or by an operator. Raises Unprocessable."""
    contract = catalog.get(kind)
    if contract is None or (public_only and not contract.spec.public):
        kinds = sorted(
            each.spec.kind for each in catalog.values() if each.spec.public or not public_only
        )
        raise Unprocessable(
            f"There is no kind {kind!r} that can be scheduled. Use one of: {', '.join(kinds)}.",
            code="unknown_kind",
        )
    return contract


def read_payload(
    contract: type[JobContract], payload: dict[str, Any], *, version: int | None = None
) -> JobContract:
    """The job; `version` is the contract's own unless given. Raises Unprocessable."""
    try:
        return contract.read(contract.spec.version if version is None else version, payload)
    except UnreadablePayload as unreadable:
        # It names the fields as they were sent, which may be no text at all.
        raise Unprocessable(
            f"{printable(str(unreadable))} Correct it.", code=unreadable.code
        ) from None
