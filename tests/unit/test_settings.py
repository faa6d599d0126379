"""Settings: read once, complete, and quiet about their secrets."""

import pytest
from pydantic import ValidationError

from app.settings import MIB, Settings

NEEDED = {
    "MILLRACE_DATABASE_URL": "postgresql://user:hidden@localhost/db",
    "MILLRACE_BROKER_URL": "amqp://user:hidden@localhost/vhost",
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with nothing of ours but what is needed."""
    import os

    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def read() -> Settings:
    return Settings()


def test_two_settings_are_needed_and_no_more(bare: pytest.MonkeyPatch) -> None:
    assert read().s3_bucket == "millrace"
    for name in NEEDED:
        bare.delenv(name)
    with pytest.raises(ValidationError) as missing:
        read()
    assert {error["loc"][0] for error in missing.value.errors()} == {"database_url", "broker_url"}


def test_what_is_given_counts_and_not_what_the_process_has(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("MILLRACE_DB_POOL_SIZE", "77")
    given = Settings.of({**NEEDED, "MILLRACE_S3_BUCKET": "given", "HOME": "/"})
    assert (given.s3_bucket, given.db_pool_size) == ("given", 10)
    with pytest.raises(ValidationError, match="broker_url"):
        Settings.of({"MILLRACE_DATABASE_URL": NEEDED["MILLRACE_DATABASE_URL"]})


def test_secrets_are_not_shown(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("MILLRACE_S3_SECRET_ACCESS_KEY", "hidden")
    bare.setenv("MILLRACE_SMTP_PASSWORD", "hidden")
    assert "hidden" not in repr(read())
    assert "hidden" not in read().model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UPLOAD_MAX_BYTES", "0"),
        ("UPLOAD_PART_BYTES", str(5 * MIB - 1)),
        ("DISPATCH_BATCH_SIZE", "5001"),
        ("LEASE_SECONDS", "0"),
        ("CONFIRM_TIMEOUT", "-1"),
        ("DB_POOL_SIZE", "none"),
        ("S3_BUCKET", "ab"),
    ],
)
def test_a_setting_out_of_bounds_is_named(bare: pytest.MonkeyPatch, name: str, value: str) -> None:
    bare.setenv(f"MILLRACE_{name}", value)
    with pytest.raises(ValidationError) as wrong:
        read()
    assert [error["loc"][0] for error in wrong.value.errors()] == [name.lower()]


@pytest.mark.usefixtures("bare")
def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        read().log_json = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "tls", "fine"),
    [
        ("mail.example.com", "none", False),
        ("mail.example.com", "starttls", True),
        ("mail.example.com", "implicit", True),
        ("127.0.0.1", "none", True),
    ],
)
def test_no_password_goes_over_the_network_in_the_clear(
    bare: pytest.MonkeyPatch, host: str, tls: str, fine: bool
) -> None:
    bare.setenv("MILLRACE_SMTP_HOST", host)
    bare.setenv("MILLRACE_SMTP_TLS", tls)
    bare.setenv("MILLRACE_SMTP_PASSWORD", "hidden")
    if fine:
        assert read().smtp_password is not None
        return
    with pytest.raises(ValidationError) as wrong:
        read()
    assert [error["loc"] for error in wrong.value.errors()] == [("smtp_password",)]
    assert "hidden" not in str(wrong.value)
