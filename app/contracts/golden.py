"""Golden records, `<kind>/v<N>.json`: of each version its shape, a payload as the ledger stores it, and a
message as it travels. What was recorded is never changed: it stands for what is in databases and brokers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.broker.message import JobMessage
from app.contracts.sample import sample_of
from app.contracts.shape import differences, shape_of
from app.errors import Conflict
from app.ledger.contract import Catalog, JobContract, UnreadablePayload

FOLDER = Path("tests/golden")
COMMAND = "make contracts"

_JOB_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One version of one contract as it was when it was recorded."""

    kind: str
    version: int
    shape: dict[str, Any]
    payload: dict[str, Any]
    message: dict[str, Any]
    """`properties`, `headers`, and `body` as text."""


def golden_of(contract: type[JobContract]) -> Golden:
    """The contract as it is now. Raises Unprocessable when no payload could be made up."""
    spec = contract.spec
    message = JobMessage(
        job_id=_JOB_ID,
        kind=spec.kind,
        version=spec.version,
        attempt=1,
        queue=spec.queue.value,
        traceparent=_TRACEPARENT,
    ).encode()
    properties = dict(message.properties)
    headers = dict(properties.pop("application_headers"))
    return Golden(
        kind=spec.kind,
        version=spec.version,
        shape=shape_of(contract),
        payload=sample_of(contract),
        message={
            "properties": properties,
            "headers": headers,
            "body": message.body,
        },
    )


def load(folder: Path) -> dict[str, dict[int, Golden]]:
    """All that is recorded, by kind and version."""
    found: dict[str, dict[int, Golden]] = {}
    for path in sorted(folder.glob("*/v*.json")):
        one = Golden(**json.loads(path.read_text()))
        found.setdefault(one.kind, {})[one.version] = one
    return found


def record(folder: Path, contract: type[JobContract]) -> Path | None:
    """Record the contract's version; None when it is recorded as it is.

    Raises Conflict, and touches nothing, when that version was recorded in another shape, or when the
    contract can't read the versions before it.
    """
    spec = contract.spec
    known = load(folder).get(spec.kind, {})
    wrong = _broken_word(contract, known)
    if wrong is not None:
        raise Conflict(wrong)
    if spec.version in known:
        return None
    made = json.dumps(asdict(golden_of(contract)), indent=2) + "\n"
    path = folder / spec.kind / f"v{spec.version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made)
    return path


def problems(recorded: Mapping[str, Mapping[int, Golden]], catalog: Catalog) -> dict[str, str]:
    """What is wrong, and what to do about it, by kind; empty when all contracts keep their word."""
    found: dict[str, str] = {}
    for kind in sorted({*recorded, *catalog}):
        contract = catalog.get(kind)
        wrong = _is_gone(kind) if contract is None else _problem(contract, recorded.get(kind, {}))
        if wrong is not None:
            found[kind] = wrong
    return found


def _problem(contract: type[JobContract], recorded: Mapping[int, Golden]) -> str | None:
    spec = contract.spec
    wrong = _broken_word(contract, recorded)
    if wrong is None and spec.version not in recorded:
        return f"{spec.kind} version {spec.version} is not recorded. Run: {COMMAND}"
    return wrong


def _broken_word(contract: type[JobContract], recorded: Mapping[int, Golden]) -> str | None:
    """What the contract does to a version that was recorded."""
    spec = contract.spec
    here = recorded.get(spec.version)
    if here is not None:
        changed = differences(here.shape, shape_of(contract))
        if changed:
            return _is_changed(contract, changed)
    missing = [number for number in range(1, spec.version) if number not in recorded]
    if missing:
        return (
            f"{spec.kind}: version {spec.version} is declared, and version {missing[0]} was never "
            f"recorded. Versions are recorded one by one: lower it, run `{COMMAND}`, raise it again."
        )
    for number in sorted(recorded):
        try:
            contract.read(number, recorded[number].payload)
        except UnreadablePayload as bad:
            return _is_unreadable(contract, number, bad)
    return None


def _is_changed(contract: type[JobContract], changed: list[str]) -> str:
    spec = contract.spec
    lines = "\n".join(f"  - {line}" for line in changed)
    following = spec.version + 1
    return (
        f"{spec.kind} has changed, and version {spec.version} is recorded as it was: jobs of it may be "
        f"waiting or dead in any database.\n{lines}\n"
        f"Undo the change, or in {contract.__module__.replace('.', '/')}.py:\n"
        f"  1. set `version={following}` in the spec,\n"
        f"  2. say in `upcasts` how a payload of version {spec.version} becomes one of version "
        f"{following}: {{{spec.version}: lambda old: {{**old, ...}}}},\n"
        f"  3. run: {COMMAND}\n"
        f"(If no release ever had version {spec.version}, delete "
        f"{FOLDER / spec.kind / f'v{spec.version}.json'} instead, and run: {COMMAND})"
    )


def _is_unreadable(contract: type[JobContract], number: int, bad: UnreadablePayload) -> str:
    return (
        f"{contract.spec.kind} can't read its own version {number} any more: {bad}\n"
        f"Mend the way from version {number} to {number + 1} in `upcasts` of "
        f"{contract.__module__.replace('.', '/')}.py."
    )


def _is_gone(kind: str) -> str:
    return (
        f"{kind} has golden records and no contract in the catalog: jobs of it may be waiting or dead "
        f"in any database. Put the contract back; or, once `millrace contracts list` shows no job of it "
        f"anywhere, delete {FOLDER / kind}."
    )
