"""A CSV through the real processes: exact figures, rejected rows with their reasons, one mail."""

import csv
import io
import json
import os
import random
from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import Engine

from tests.support import threads
from tests.support.customers import Customer
from tests.support.imports import contacts, csv_bytes
from tests.support.jobs import assert_lawful, count
from tests.support.processes import Processes
from tests.support.servers import Servers, wait_for

HEADER = ["E-mail", "First name", "Last name", "Company", "Phone", "Plan"]
CHUNK_BYTES = 1500
"""A chunk ends where a block of the reader ends, so it is as long as that."""
ROWS = 6_000


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_IMPORT_CHUNK_BYTES": str(CHUNK_BYTES),
        "MILLRACE_LOG_JSON": "true",
        "MILLRACE_LOG_LEVEL": "DEBUG",
    }


@dataclass(slots=True)
class Sample:
    """Rows with known faults, and what is to come of them; row numbers are the file's."""

    rows: list[list[str]] = field(default_factory=list)
    winners: dict[str, list[str]] = field(default_factory=dict)
    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The next row's."""
        return len(self.rows) + 2


def sample(rows: int, seed: int) -> Sample:
    dice = random.Random(seed)  # noqa: S311 - the same for the same seed
    made = Sample()
    first_row: dict[str, int] = {}
    for index in range(rows):
        row = [
            f"User{index}@Example.com",
            f"Ünal {index}",
            'O"Neil, Jr.',
            "",
            "+442079460958",
            "free",
        ]
        kind = dice.random()
        if kind < 0.05:
            made.rejected[made.number] = ("E-mail", "is missing")
            row[0] = ""
        elif kind < 0.10:
            made.rejected[made.number] = ("E-mail", "@-sign")
            row[0] = f"user{index}.example.com"
        elif kind < 0.14:
            row = row[: dice.randrange(1, 5)]
            made.rejected[made.number] = ("", f"has {len(row)} cell")
        elif kind < 0.18:
            row += ["more", "cells"]
            made.rejected[made.number] = ("", "has 8 cells")
        elif kind < 0.20:
            row[3] = "line one\nline two"
            _keep(made, first_row, row)
        elif kind < 0.30 and first_row:
            email = dice.choice(list(first_row))
            row[0] = email.upper()
            made.rejected[made.number] = ("E-mail", f"Row {first_row[email]} has the same")
        else:
            _keep(made, first_row, row)
        made.rows.append(row)
    return made


def _keep(made: Sample, first_row: dict[str, int], row: list[str]) -> None:
    email = row[0].lower()
    first_row[email] = made.number
    made.winners[email] = row


def upload(api: httpx.Client, data: bytes) -> dict[str, object]:
    answer = api.post("/v1/imports", files={"file": ("people.csv", data, "text/csv")})
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]
    wait_for(
        lambda: api.get(location).json()["status"] not in {"queued", "running"},
        seconds=60,
        what="the import",
    )
    ended: dict[str, object] = api.get(location).json()
    return ended


def test_a_faulty_file_is_imported_exactly_and_a_second_time_changes_nothing(
    processes: Processes, api: httpx.Client, engine: Engine, servers: Servers, tenant: Customer
) -> None:
    processes.dispatcher()
    worker = processes.worker("default", "high", concurrency=2)
    made = sample(ROWS, seed=11)
    data = csv_bytes(HEADER, *made.rows)
    duplicates = sum(reason.startswith("Row") for _, reason in made.rejected.values())
    assert duplicates > 20
    assert len(data) > 10 * CHUNK_BYTES

    first = upload(api, data)
    figures = {
        "total": ROWS,
        "inserted": len(made.winners),
        "updated": 0,
        "unchanged": 0,
        "rejected": len(made.rejected),
    }
    assert figures["inserted"] + figures["rejected"] == ROWS
    assert (first["status"], first["counts"], first["error"]) == ("succeeded", figures, None)
    assert first["progress"] == {
        "percent": 100.0,
        "rows_done": ROWS,
        "bytes_done": len(data),
        "bytes_total": len(data),
        "rows_per_second": None,
        "seconds_left": None,
    }
    assert threads.of_tree(worker.pid) <= threads.at_most(3, cores=os.cpu_count() or 1)
    assert_contacts(engine, tenant, made)
    assert_rejected(api, str(first["id"]), made)
    wait_for(lambda: servers.system.mails(recipient=tenant.email), what="the mail")
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert f"inserted {len(made.winners):,}" in " ".join(mail.text.split())
    assert f"rejected {len(made.rejected):,}" in " ".join(mail.text.split())

    second = upload(api, data)
    assert second["counts"] == {
        **figures,
        "inserted": 0,
        "unchanged": len(made.winners),
    }
    assert_contacts(engine, tenant, made)
    wait_for(lambda: len(servers.system.mails(recipient=tenant.email)) == 2, what="the 2nd mail")
    chunks = count(engine, "import_chunks")
    assert chunks > 5
    wait_for(lambda: _open_jobs(api) == 0, what="the ledger's rest")
    assert assert_lawful(engine) == chunks + 4
    assert count(engine, "outbox") == 0
    for name in ("dispatcher", "worker-default"):
        assert_logs_are_silent(processes.log(name))
    assert '"kind": "mail.import_finished"' in processes.log("worker-default")


def assert_logs_are_silent(written: str) -> None:
    """About what is in the file, what it is called, and who gets the mail; every line has the known names."""
    for theirs in ("example.com", "people", "Neil", "nal 1", "+4420", "line two"):
        assert theirs not in written
    for line in written.splitlines():
        if line.startswith("{"):
            assert {"event", "level", "logger", "timestamp"} <= set(json.loads(line))


def _open_jobs(api: httpx.Client) -> int:
    states = ("scheduled", "queued", "running")
    return sum(len(api.get("/v1/jobs", params={"state": one}).json()["items"]) for one in states)


def assert_contacts(engine: Engine, tenant: Customer, made: Sample) -> None:
    kept = contacts(engine, tenant.id)
    assert set(kept) == set(made.winners)
    for email, row in made.winners.items():
        contact = kept[email]
        shown = [contact[name] for name in ("first_name", "last_name", "company", "phone")]
        assert shown == [row[1], row[2], row[3] or None, row[4]]
        assert contact["attributes"] == {"Plan": "free"}


def assert_rejected(api: httpx.Client, import_id: str, made: Sample) -> None:
    answer = api.get(f"/v1/imports/{import_id}/rejected.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    header, *lines = csv.reader(io.StringIO(answer.text, newline=""))
    assert header == [*HEADER, "_row", "_column", "_error"]
    own = len(HEADER)
    found = {int(line[own]): (line[own + 1], line[own + 2]) for line in lines}
    assert list(found) == sorted(made.rejected)
    for number, (column, reason) in made.rejected.items():
        assert found[number][0] == column
        assert reason in found[number][1]
    for line in lines:
        sent = made.rows[int(line[own]) - 2]
        assert line[:own] == [*sent[:own], *[""] * (own - len(sent))]
        assert line[own + 3 :] == sent[own:]
