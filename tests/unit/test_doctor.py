"""What the doctor makes of settings, clocks and packages, and what a plan of connections comes to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.connections import FLOWER, Processes, Workers, planned, read_processes
from app.doctor.clocks import skew
from app.doctor.findings import Finding, Status, examine, ok
from app.doctor.settings import settings_of
from app.doctor.versions import versions
from app.server_limits import PostgresLimits, over_postgres, over_rabbitmq
from app.settings import Settings

SOUND = {
    "MILLRACE_DATABASE_URL": "postgresql://app:k3j4h5@db.internal/app?sslmode=verify-full",
    "MILLRACE_BROKER_URL": "amqps://app:k3j4h5@mq.internal/app",
    "MILLRACE_PUBLIC_URL": "https://app.test",
    "MILLRACE_MAIL_FROM": "App <no-reply@app.test>",
    "MILLRACE_SEALING_KEYS": "k" * 40,
    "MILLRACE_METRICS_TOKEN": "t" * 20,
}


def found(changes: dict[str, str]) -> dict[str, str]:
    settings = Settings.of(
        {**SOUND, **{f"MILLRACE_{name}": value for name, value in changes.items()}}
    )
    return {finding.check: finding.status.value for finding in settings_of(settings)}


def test_sound_settings_pass() -> None:
    assert found({}) == {"settings": "ok"}


@pytest.mark.parametrize(
    ("changes", "check", "status"),
    [
        (
            {"DATABASE_URL": "postgresql://app:Postgres@db/app?sslmode=require"},
            "settings.passwords",
            "failed",
        ),
        ({"DATABASE_URL": "postgresql://app@127.0.0.1/app"}, "settings.passwords", "warning"),
        ({"BROKER_URL": "amqps://guest:guest@mq/"}, "settings.passwords", "failed"),
        ({"S3_SECRET_ACCESS_KEY": "password"}, "settings.passwords", "failed"),
        ({"SEALING_KEYS": ""}, "settings.sealing_keys", "failed"),
        ({"SEALING_KEYS": "short"}, "settings.sealing_keys", "failed"),
        ({"DATABASE_URL": "postgresql://app:k3j4h5@db/app"}, "settings.tls", "warning"),
        ({"BROKER_URL": "amqp://app:k3j4h5@mq/app"}, "settings.tls", "warning"),
        ({"S3_ENDPOINT_URL": "http://s3:8333"}, "settings.tls", "warning"),
        ({"PUBLIC_URL": "http://localhost:8000"}, "settings.public_url", "failed"),
        ({"PUBLIC_URL": "http://app.test"}, "settings.public_url", "warning"),
        ({"MAIL_FROM": "Millrace <no-reply@millrace.example>"}, "settings.mail_from", "warning"),
        ({"OUTBOUND_ALLOWED_NETWORKS": "10.0.0.0/8"}, "settings.outbound", "warning"),
    ],
)
def test_unsafe_settings_are_found(changes: dict[str, str], check: str, status: str) -> None:
    assert found(changes) == {check: status}


def test_clocks_may_differ_a_little() -> None:
    found = [skew("x", "PostgreSQL", seconds) for seconds in (-1, 1.9, -5, 40)]
    assert [one.status for one in found] == [Status.OK, Status.OK, Status.WARNING, Status.FAILED]
    assert found[2].found == "PostgreSQL's is 5.0 s behind this machine's"


def test_packages_are_held_against_the_lock(tmp_path: Path) -> None:
    assert [one.status for one in versions()] == [Status.OK, Status.OK]
    (tmp_path / "web.txt").write_text("typer==0.0.1 \\\n    --hash=sha256:0\nabsent==1\n")
    _, packages = versions(tmp_path)
    assert packages.status is Status.WARNING
    assert "typer" in packages.found
    assert "instead of 0.0.1" in packages.found
    assert [one.status for one in versions(tmp_path / "none")] == [Status.OK, Status.OK]


def test_an_examination_that_hangs_or_breaks_keeps_nobody() -> None:
    never = threading.Event()

    def hangs() -> Iterator[Finding]:
        yield ok("a", "seen")
        never.wait(30)

    def breaks() -> Iterator[Finding]:
        yield ok("b", "seen")
        raise KeyError("secret-word")

    found = examine({"hangs": hangs, "breaks": breaks}, seconds=0.2)
    never.set()
    assert [(one.check, one.status) for one in found] == [
        ("a", Status.OK),
        ("hangs", Status.FAILED),
        ("b", Status.OK),
        ("breaks", Status.FAILED),
    ]
    assert "secret-word" not in str(found)


class TestPlan:
    def test_the_table_of_processes_is_read(self) -> None:
        read = read_processes("web=2 dispatcher=3 high=1x2, default=3x4 low=2")
        assert read == Processes(
            web=2,
            dispatchers=3,
            workers=(
                Workers(pool="high", replicas=1, children=2),
                Workers(pool="default", replicas=3, children=4),
                Workers(pool="low", replicas=2),
            ),
        )
        lines = planned(read, db_pool_size=10, worker_concurrency=5)
        assert [line.processes for line in lines] == [2, 3, 6, 2 + 12 + 10, 1]
        assert read_processes("web=7") == Processes(web=7)
        assert read_processes(str(read)) == read

    @pytest.mark.parametrize(
        "words", ["web", "web=-1", "web=2x2", "web=1 web=2", "web=1.5", "=3", "low=3x0"]
    )
    def test_nonsense_is_refused(self, words: str) -> None:
        with pytest.raises(ValueError, match=r"is not like|twice"):
            read_processes(words)

    def test_a_plan_over_a_limit_says_what_to_change(self) -> None:
        limits = PostgresLimits(max_connections=100, reserved=3, role=None, database=None)
        assert over_postgres(Settings.of(SOUND), limits) is None
        many = Settings.of({**SOUND, "MILLRACE_PROCESSES": "web=9 default=1x1"})
        over = over_postgres(many, limits)
        assert over is not None
        assert "99 of 9 web processes" in over.found
        assert "it has 97 for this role" in over.found
        assert "MILLRACE_PROCESSES" in over.change
        pooled = {"MILLRACE_DATABASE_DIRECT_URL": SOUND["MILLRACE_DATABASE_URL"]}
        behind = Settings.of({**SOUND, **pooled, "MILLRACE_PROCESSES": "web=9 default=1x1"})
        assert over_postgres(behind, limits) is None, "10 past the pooler, 20 of the pooler"
        assert over_rabbitmq(many, None) is None
        assert over_rabbitmq(many, 6 + FLOWER.rabbitmq) is None
        assert "is 17" in str(over_rabbitmq(many, 5 + FLOWER.rabbitmq))
        few = PostgresLimits(max_connections=100, reserved=3, role=50, database=40)
        assert few.ours == 40
