"""`python -m bench.csv_readers_worker READER`: a reader in a process of its own, which may die.

Takes a path on each line of standard input, and answers each with a line of JSON.
"""

import json
import os
import sys
import warnings

from bench.csv_readers_peers import READERS
from tests.corpus.judge import Outcome


def main(reader: str) -> None:
    warnings.simplefilter("ignore")
    # Libraries may print; only answers go where the answers are expected.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            outcome = _read(reader, line.rstrip("\n"))
            facts = {
                "header": outcome.header and list(outcome.header),
                "records": outcome.records,
                "flagged": sorted(outcome.flagged),
                "refused": outcome.refused,
                "failed": outcome.failed,
            }
            print(json.dumps(facts), file=answers, flush=True)


def _read(reader: str, path: str) -> Outcome:
    try:
        return READERS[reader][1](path)
    except BaseException as error:  # noqa: BLE001 - some raise what is no Exception (Rust's panics)
        # Whatever a peer raises is its way to refuse; ours has errors of its own for that.
        said = f"{type(error).__name__}: {error}"[:300]
        return Outcome(refused=said, failed=reader == "millrace")


if __name__ == "__main__":
    main(sys.argv[1])
