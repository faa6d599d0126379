"""Packages that only some commands need: pinned by a lock of their own, in a folder of their own."""

import hashlib
import subprocess
import sys
from pathlib import Path

from infra.local.layout import ROOT


def packages(lock: str) -> Path:
    """The folder with what requirements/LOCK.txt pins, installed by hash when it isn't there yet.

    Put it on PYTHONPATH of a process of your own. Raises CalledProcessError when installing fails.
    """
    pins = ROOT / "requirements" / f"{lock}.txt"
    folder = ROOT / ".local" / "packages" / lock
    stamp = folder / ".installed"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing what requirements/{lock}.txt pins ...")
        uv = str(Path(sys.executable).with_name("uv"))
        options = ["--quiet", "--python", sys.executable, "--require-hashes", "-r", str(pins)]
        subprocess.run([uv, "pip", "install", *options, "--target", str(folder)], check=True)
        stamp.write_text(wanted)
    return folder
