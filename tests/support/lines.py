"""Lines to servers that a test can disturb: the campaign's proxy, for as long as a block."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.local.layout import ROOT
from infra.local.ports import accepts
from tests.chaos.links import Links
from tests.support.servers import wait_for


@contextmanager
def lines_to(folder: Path, targets: Mapping[str, int], ports: Mapping[str, int]) -> Iterator[Links]:
    """A line to each target's port, by name, from that of `ports`, which has one for `control` as well."""
    plan = folder / "proxy.json"
    lines = {name: [ports[name], target] for name, target in targets.items()}
    plan.write_text(json.dumps({"control": ports["control"], "links": lines}))
    process = subprocess.Popen([sys.executable, "-m", "tests.chaos.proxy", str(plan)], cwd=ROOT)
    try:
        wait_for(lambda: accepts(ports["control"]), what="the proxy")
        yield Links(ports["control"])
    finally:
        process.kill()
        process.wait()
