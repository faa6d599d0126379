"""Upload alone: the same file through the API, until it is accepted, and by boto3 to the same store.

Ours checks the file's beginning, hashes it and records the import; it is measured as a form and as a raw body.
The import that follows is cancelled, so that it takes nothing from the next round.
"""

import time
from pathlib import Path

import httpx
from rich.console import Console

from app.settings import Settings
from app.storage import make_storage
from bench.import_stage import Stage, sample, stage
from bench.report import Result

ROWS = 1_000_000
ROUNDS = 5
BASELINE_KEY = "bench/upload_file.csv"


def run() -> Result:
    """MB/s of both; the ratio is the form's, which is the slower way."""
    console = Console()
    runs: list[tuple[float, float]] = []
    raw_ratios: list[float] = []
    with stage() as on:
        path = sample(ROWS)
        megabytes = path.stat().st_size / 1e6
        for number in range(ROUNDS):
            baseline = megabytes / _boto3(on, path)
            form, raw = megabytes / _form(on, path), megabytes / _raw(on, path)
            runs.append((form, baseline))
            raw_ratios.append(round(raw / baseline, 2))
            console.print(
                f"round {number + 1}: form {form:,.0f}, raw {raw:,.0f} against {baseline:,.0f} MB/s"
            )
    return Result(
        name="upload",
        unit="MB/s",
        goal=0.7,
        baseline_is="boto3.upload_file",
        runs=runs,
        notes={"file_mb": round(megabytes, 1), "ratio_of_a_raw_body": raw_ratios},
    )


def _boto3(on: Stage, path: Path) -> float:
    storage = make_storage(Settings.of(on.system.settings))
    client = storage._client  # noqa: SLF001
    began = time.perf_counter()
    client.upload_file(str(path), storage.bucket, BASELINE_KEY)
    seconds = time.perf_counter() - began
    storage.delete(BASELINE_KEY)
    return seconds


def _form(on: Stage, path: Path) -> float:
    with on.client() as client, path.open("rb") as file:
        began = time.perf_counter()
        answer = client.post("/v1/imports", files={"file": (path.name, file, "text/csv")})
        seconds = time.perf_counter() - began
        _cancel(client, answer)
    return seconds


def _raw(on: Stage, path: Path) -> float:
    with on.client() as client, path.open("rb") as file:
        began = time.perf_counter()
        answer = client.post("/v1/imports", content=file, headers={"Content-Type": "text/csv"})
        seconds = time.perf_counter() - began
        _cancel(client, answer)
    return seconds


def _cancel(client: httpx.Client, answer: httpx.Response) -> None:
    """And wait until nothing of it runs."""
    answer.raise_for_status()
    where = answer.headers["Location"]
    client.post(f"{where}/cancel").raise_for_status()
    deadline = time.perf_counter() + 60
    while client.get(where).json()["status"] in {"queued", "running"}:
        assert time.perf_counter() < deadline, "the cancelled import goes on"
