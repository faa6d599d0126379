"""`python -m tests.fuzz.harness FOUND CORPUS SEEDS [libFuzzer's options]`: the fuzzer's process.

An input that breaks a promise is kept in FOUND, one for each place in the code, and fuzzing goes on. What
can't be survived (a hang, memory) ends the process, and libFuzzer keeps the input itself.
"""

import hashlib
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

FRAMES = 3
"""The innermost lines of code that tell one fault from another."""


class Findings:
    """Inputs that broke a promise, by the place where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()

    def keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        place = " ".join(
            f"{Path(frame.filename).name}:{frame.name}:{frame.line}" for frame in frames
        )
        name = hashlib.sha256(f"{type(error).__name__} {place}".encode()).hexdigest()[:12]
        if name not in self.known:
            self.known.add(name)
            (self.folder / f"{type(error).__name__}-{name}").write_bytes(data)
            traceback.print_exception(error)


def main() -> None:
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["app.tabular"]):
        from tests.fuzz.promises import check_input

    findings = Findings(Path(sys.argv.pop(1)))

    def run(data: bytes) -> None:
        try:
            check_input(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            findings.keep(data, error)

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
