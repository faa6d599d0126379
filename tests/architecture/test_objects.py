"""Every object in the store lies below its tenant's prefix, and so goes with it."""

import ast
from pathlib import Path
from uuid import uuid4

from app.exports import files as exports
from app.files import objects as files
from app.imports import files as imports
from app.storage import below_tenant

ROOT = Path(__file__).parents[2]
WRITERS = {
    "app/api/intake.py",
    "app/api/uploads.py",
    "app/doctor/outside.py",  # gone again at once
    "app/exports/object_writer.py",
    "app/files/making.py",
    "app/imports/preparing.py",
    "app/imports/running.py",
    "app/reports/delivering.py",
    "workers/handlers/export_table.py",
    "workers/planning.py",
}
"""Who puts objects, by keys of the three modules above."""


def writes(path: Path) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (
            getattr(node.func, "attr", "") == "begin_multipart"
            or (
                getattr(node.func, "attr", "") == "put"
                and any(each.arg == "content_type" for each in node.keywords)
            )
        )
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_keys_begin_with_the_tenants_prefix() -> None:
    tenant_id, own = uuid4(), uuid4()
    for prefix in (exports.prefix, files.prefix, imports.prefix):
        assert prefix(tenant_id, own).startswith(below_tenant(tenant_id))


def test_whoever_puts_objects_is_known_to_use_such_keys() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("app", "workers")
        for path in (ROOT / folder).rglob("*.py")
        if writes(path)
    }
    assert found == WRITERS
