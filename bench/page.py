"""Tables of a benchmark's page in docs: what stands between two markers is written anew, the prose stays."""

import re
from pathlib import Path


def put_between(page: Path, marker: str, table: str) -> None:
    text = page.read_text()
    pattern = rf"(<!-- {marker}: begin -->\n).*?(<!-- {marker}: end -->)"
    new = re.sub(pattern, lambda found: found[1] + table + found[2], text, flags=re.DOTALL)
    page.write_text(new)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
