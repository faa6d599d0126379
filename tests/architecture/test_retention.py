"""The page about upkeep names what is kept, for how long, and no more."""

import re

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
