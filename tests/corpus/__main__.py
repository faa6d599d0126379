"""`python -m tests.corpus FOLDER`: write every file, and `truth.json` about them."""

import json
import sys
from pathlib import Path

from tests.corpus.generate import corpus


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for case in corpus():
        (folder / case.filename).write_bytes(case.data)
        truth[case.filename] = {
            "kind": case.kind,
            "readings": [
                {
                    "header": reading.header,
                    "records": reading.records,
                    "damaged": reading.damaged,
                    "optional": sorted(reading.optional),
                }
                for reading in case.readings
            ],
        }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
