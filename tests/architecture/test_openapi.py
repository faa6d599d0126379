"""The API's description is valid, complete, and says how each call may fail."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings

SIGNED = "POST /v1/webhooks/payments"
"""The payment provider's signature stands in for a key."""
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
        "GET /v1/imports/{import_id}/events",
        "GET /v1/imports/{import_id}/rejected.csv",
        "GET /v1/imports/{import_id}/changes.csv",
        "GET /v1/imports/{import_id}/undo.csv",
        "POST /v1/imports/preview",
        "POST /v1/imports/{import_id}/cancel",
        "POST /v1/imports/{import_id}/undo",
        "POST /v1/imports/{import_id}/retry",
        "POST /v1/uploads",
        "GET /v1/uploads/{upload_id}",
        "POST /v1/uploads/{upload_id}/complete",
        "DELETE /v1/uploads/{upload_id}",
        "GET /v1/targets",
        "GET /v1/products",
        "GET /v1/contacts",
        "POST /v1/exports",
        "GET /v1/exports",
        "GET /v1/exports/{export_id}",
        "POST /v1/exports/{export_id}/cancel",
        "GET /v1/exports/{export_id}/download",
        "POST /v1/documents",
        "GET /v1/documents",
        "GET /v1/documents/{document_id}",
        "DELETE /v1/documents/{document_id}",
        "GET /v1/search",
        "GET /v1/ai/labels",
        "GET /v1/ai/usage",
        "GET /v1/tenants/top",
        "GET /v1/jobs",
        "POST /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/retry",
        "GET /v1/dead-letters",
        "GET /v1/dead-letters/{incident_id}",
        "POST /v1/dead-letters/replay",
        "POST /v1/dead-letters/discard",
        "GET /v1/subscription",
        "GET /v1/payment-events",
        "POST /v1/payment-events/replay",
        SIGNED,
        "POST /v1/webhook-endpoints",
        "GET /v1/webhook-endpoints",
        "GET /v1/webhook-endpoints/{endpoint_id}",
        "PATCH /v1/webhook-endpoints/{endpoint_id}",
        "DELETE /v1/webhook-endpoints/{endpoint_id}",
        "POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret",
        "POST /v1/webhook-endpoints/{endpoint_id}/test",
        "GET /v1/webhook-deliveries",
        "GET /v1/webhook-deliveries/{delivery_id}",
        "POST /v1/webhook-deliveries/{delivery_id}/redeliver",
        "POST /v1/connections",
        "GET /v1/connections",
        "GET /v1/connections/{connection_id}",
        "PATCH /v1/connections/{connection_id}",
        "DELETE /v1/connections/{connection_id}",
        "POST /v1/connections/{connection_id}/sync",
        "GET /v1/connections/{connection_id}/runs",
        "GET /v1/connections/{connection_id}/runs/{run_id}",
        "GET /healthz",
        "GET /readyz",
    } <= set(operations(document))


def test_every_call_says_how_it_may_fail_and_that_it_needs_a_key(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document).items():
        if "/v1/" not in name or name == SIGNED:
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


def test_what_is_signed_needs_no_key(document: dict[str, Any]) -> None:
    operation = operations(document)[SIGNED]
    assert "security" not in operation
    assert {"200", "400", "413", "503"} <= set(operation["responses"])
    assert "401" not in operation["responses"]
    assert "requestBody" in operation


def test_problems_are_described(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "detail"}


def test_an_upload_is_described_in_both_forms(document: dict[str, Any]) -> None:
    upload = operations(document)["POST /v1/imports"]
    content = upload["requestBody"]["content"]
    assert {"multipart/form-data", "text/csv", "application/octet-stream"} <= set(content)
    raw = [each["schema"] for kind, each in content.items() if kind != "multipart/form-data"]
    assert raw == [{"type": "string", "format": "binary"}] * len(raw)
    assert "Location" in upload["responses"]["202"]["headers"]
    names = {parameter["name"] for parameter in upload["parameters"]}
    assert {"Idempotency-Key", "filename", "mapping"} <= names


def test_each_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    assert all(operation.get("summary") for operation in operations(document).values())


@pytest.mark.parametrize(
    "name", ["POST /v1/jobs", "POST /v1/jobs/{job_id}/cancel", "POST /v1/jobs/{job_id}/retry"]
)
def test_accepted_work_says_where_to_watch_it(document: dict[str, Any], name: str) -> None:
    accepted = operations(document)[name]["responses"]["202"]
    assert "Location" in accepted["headers"]
    schema = accepted["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/JobDetail"}


def test_what_reads_a_body_says_that_it_is_bounded(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        if "requestBody" in operation and ("/jobs" in name or "/dead-letters" in name):
            assert "413" in operation["responses"], name


def test_a_job_is_described_field_by_field(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["JobRequest"]
    when = {"run_at", "deadline"}
    keys = {"unique_key", "unique_for", "unique_until", "concurrency_key"}
    debounce = {"debounce", "debounce_max"}
    assert set(body["properties"]) == {"kind", "payload", *when, *keys, *debounce}
    assert (body["required"], body["additionalProperties"]) == (["kind"], False)
    names = {each["name"] for each in operations(document)["POST /v1/jobs"]["parameters"]}
    assert "Idempotency-Key" in names


def test_nothing_that_tenants_are_shown_has_room_for_the_inside(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    hidden = {"traceback", "frame", "x_death", "headers", "body", "checkpoint", "tenant_id"}
    for name in ("JobView", "JobDetail", "JobError", "IncidentView", "LetterView"):
        assert not hidden & set(schemas[name]["properties"]), name
