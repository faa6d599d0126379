"""`millrace doctor`: is this deployment sound, and what is to be changed."""

import json
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.failing import settings_line
from app.terminal import AsJson, plain

if TYPE_CHECKING:
    from app.doctor.findings import Examination, Finding
    from app.settings import Settings

SECONDS = 8.0
_WIDTH = 24


def doctor(
    write: Annotated[
        bool, typer.Option(help="Also write an object to the bucket, and delete it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at servers, schema, topology, rights, clocks, limits and settings, and say what to change.

    Changes nothing, takes 10 seconds at most. Exit status 1 when something failed.
    """
    from pydantic import ValidationError

    from app.doctor.findings import Status, examine, failed, worst
    from app.settings import get_settings

    began = time.monotonic()
    try:
        settings = get_settings()
    except ValidationError as error:
        findings = [
            failed("settings", settings_line(error), "Set them; docs/settings.md has them all.")
        ]
    else:
        findings = examine(_examinations(settings, write=write), seconds=SECONDS)
    status = worst(findings)
    if as_json:
        seconds = round(time.monotonic() - began, 2)
        checks = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"status": status, "seconds": seconds, "checks": checks}))
    else:
        for finding in findings:
            _show(finding)
    sys.exit(1 if status is Status.FAILED else 0)


def _examinations(settings: "Settings", *, write: bool) -> "dict[str, Examination]":
    from app.doctor.outside import mail, object_store
    from app.doctor.postgresql import postgresql
    from app.doctor.rabbitmq import rabbitmq
    from app.doctor.settings import settings_of
    from app.doctor.versions import versions

    return {
        "versions": versions,
        "settings": partial(settings_of, settings),
        "postgresql": partial(postgresql, settings),
        "rabbitmq": partial(rabbitmq, settings),
        "s3": partial(object_store, settings, write=write),
        "smtp": partial(mail, settings),
    }


def _show(finding: "Finding") -> None:
    typer.echo(f"{finding.status.value:<8} {finding.check:<{_WIDTH}} {plain(finding.found)}")
    if finding.change:
        typer.echo(f"{'':<8} {'':<{_WIDTH}} -> {plain(finding.change)}")
