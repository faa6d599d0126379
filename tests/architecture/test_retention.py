"""What is kept for how long, as the page says, and what goes with a job."""

import re

from app.ledger.belongings import NOT_ITS_OWN, OF_ENDED, OF_OPEN
from app.models.tables import TABLES
from app.retention import KEPT
from app.settings import Settings
from tests.architecture.test_structure import ROOT


def test_the_page_about_upkeep_has_a_line_for_everything_that_is_kept() -> None:
    page = (ROOT / "docs/upkeep.md").read_text()
    lines = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \|", page, re.MULTILINE)
    default = Settings.model_fields["retention_days"].default
    assert lines == [
        (one.what, str(one.days or default), "yes" if one.per_tenant else "no") for one in KEPT
    ]


def test_whatever_names_a_job_goes_with_it_or_says_that_it_does_not() -> None:
    """A new table with a job's id belongs into one of the lists of `app.ledger.belongings`."""
    naming = {table.name for table in TABLES.sorted_tables if "job_id" in table.c}
    own = {*OF_ENDED, *OF_OPEN}
    assert naming == own | NOT_ITS_OWN
    assert not own & NOT_ITS_OWN
