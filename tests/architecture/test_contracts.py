"""Every contract keeps its word: what was once enqueued is read for as long as it may be there."""

import pytest

from app.contracts.golden import FOLDER, load, problems
from app.jobs import CATALOG
from tests.architecture.test_structure import ROOT

RECORDED = load(ROOT / FOLDER)
PROBLEMS = problems(RECORDED, CATALOG)


@pytest.mark.parametrize("kind", sorted({*CATALOG, *RECORDED}))
def test_a_contract_is_as_it_was_recorded_or_has_a_new_version(kind: str) -> None:
    assert kind not in PROBLEMS, PROBLEMS[kind]
