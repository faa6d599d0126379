"""What a process imports before it does anything: two settings are enough, and what others need stays out.

No test here measures time. Whoever adds an import that belongs to another process finds it named.
"""

import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WEB = ("fastapi", "starlette", "uvicorn", "multipart", "python_multipart", "stripe")
CELERY = ("celery", "kombu", "billiard")
TABLES = ("numpy", "pyarrow", "xlsxwriter")
DOCUMENTS = ("PIL", "pillow_heif", "pypdf", "docx", "lxml", "reportlab")
SELDOM = ("alembic", "asyncpg", "opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
"""Migrations, one handler's driver, and traces, which most deployments switch on never."""
SERVERS = (
    "sqlalchemy",
    "psycopg",
    "amqp",
    "boto3",
    "botocore",
    "httpx",
    "pydantic",
    "pydantic_core",
)
ORM = ("sqlalchemy.orm", "app.models.jobs")
"""Mapped classes: the ledger's SQL is text."""
LOCAL = ("infra", "tests", "hypothesis", "pytest", "supervisor", "aiosmtpd")

ELSEWHERE = {
    "app.cli": (*WEB, *CELERY, *TABLES, *DOCUMENTS, *SELDOM, *SERVERS, *ORM, "rich", "structlog"),
    "app.serving": (*CELERY, *TABLES, *DOCUMENTS, *SELDOM),
    "app.dispatcher": (*WEB, *CELERY, *TABLES, *DOCUMENTS, *SELDOM, *ORM, "jinja2", "chardet"),
    # numpy is the planner's: loaded once, before the children are forked that plan files.
    "workers.celery_app": (*WEB, *DOCUMENTS, *SELDOM, *ORM, "pyarrow", "xlsxwriter"),
    # One for each file that is decoded: the library for its sort comes when that is known.
    "app.files.sandbox.__main__": (*WEB, *CELERY, *TABLES, *DOCUMENTS, *SERVERS, "chardet"),
}
"""A process's module -> what it must leave to others, or to the moment when it is needed."""


@pytest.mark.parametrize("module", ELSEWHERE)
def test_a_process_needs_two_settings_and_imports_nothing_of_the_others(module: str) -> None:
    """From a bare environment, in another folder, and without connecting to anything."""
    needed = {
        "MILLRACE_DATABASE_URL": "postgresql://user@127.0.0.1:1/none",
        "MILLRACE_BROKER_URL": "amqp://user@127.0.0.1:1/none",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        env=needed,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & {*ELSEWHERE[module], *LOCAL} == set()


def test_what_must_stay_out_is_there_to_be_imported() -> None:
    """A name that nothing is called by would be kept out by anyone."""
    unknown = {
        name
        for names in (*ELSEWHERE.values(), LOCAL)
        for name in names
        if PathFinder.find_spec(name.partition(".")[0]) is None
    }
    assert unknown == set()
