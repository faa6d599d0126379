"""`python -m bench [NAME]`: run one benchmark, or all; exit status 1 when a goal is missed."""

import importlib
import sys
from pathlib import Path

from bench.report import OUT, Result, print_table

NAMES = {
    "ai_search": "bench.ai_search",
    "autoscale": "bench.autoscale",
    "backlog": "bench.backlog",
    "batch": "bench.batch",
    "bloat": "bench.bloat",
    "capacity": "bench.capacity",
    "console": "bench.console",
    "csv_readers": "bench.csv_readers",
    "dispatch": "bench.dispatch",
    "enqueue": "bench.enqueue",
    "export": "bench.export",
    "fairness": "bench.fairness",
    "import": "bench.csv_import",
    "import_fair": "bench.import_fair",
    "import_naive": "bench.import_naive",
    "import_scale": "bench.import_scale",
    "isolation": "bench.isolation",
    "overhead": "bench.overhead",
    "peers": "bench.peers",
    "scaling": "bench.scaling",
    "strategies": "bench.strategies",
    "upload": "bench.upload",
    "throughput": "bench.throughput",
    "throughput_batched": "bench.throughput_batched",
}


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}")
        return 2
    results: list[Result] = []
    for name in wanted or NAMES:
        result: Result = importlib.import_module(NAMES[name]).run()
        result.write(Path(OUT))
        results.append(result)
        print_table([result])
    if len(results) > 1:
        print_table(results)
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
