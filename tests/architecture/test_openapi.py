"""The API's description is valid, complete, and says how each call may fail."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    settings = Settings(
        database_url=SecretStr("postgresql://user@127.0.0.1:1/none"),
        broker_url=SecretStr("amqp://user@127.0.0.1:1/none"),
        s3_endpoint_url="http://127.0.0.1:1",
        s3_access_key_id="none",
        s3_secret_access_key=SecretStr("none"),
    )
    described: dict[str, Any] = create_app(settings).openapi()
    return described


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_it_names_the_routes(document: dict[str, Any]) -> None:
    assert {
        "POST /v1/imports",
        "GET /v1/imports",
        "GET /v1/imports/{import_id}",
        "GET /v1/imports/{import_id}/rejected.csv",
        "GET /v1/contacts",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /healthz",
        "GET /readyz",
    } <= set(operations(document))


def test_every_call_says_how_it_may_fail_and_that_it_needs_a_key(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document).items():
        if "/v1/" not in name:
            continue
        assert operation["security"] == [{"HTTPBearer": []}], name
        answers = operation["responses"]
        failing = {status for status in answers if status[0] in "45"}
        assert {"401", "503", "422"} <= failing, name
        assert "404" in failing or "{" not in name, name
        for status in failing:
            content = answers[status]["content"]
            reference = {"$ref": "#/components/schemas/Problem"}
            assert content == {"application/problem+json": {"schema": reference}}, (name, status)


def test_problems_are_described(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "detail"}


def test_an_upload_is_described_in_both_forms(document: dict[str, Any]) -> None:
    upload = operations(document)["POST /v1/imports"]
    assert set(upload["requestBody"]["content"]) == {"multipart/form-data", "text/csv"}
    assert "Location" in upload["responses"]["202"]["headers"]
    names = {parameter["name"] for parameter in upload["parameters"]}
    assert {"Idempotency-Key", "filename", "mapping"} <= names


def test_each_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    assert all(operation.get("summary") for operation in operations(document).values())
