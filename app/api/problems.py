"""Errors as RFC 9457 problem+json: a stable `type`, and a `detail` that says what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.api.http_metrics import route_of
from app.errors import MillraceError, Overloaded, TooManyRequests
from app.logs import cause

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
BUSY_SECONDS = 1
UNSTORABLE = "The request has text in it that can't be kept, such as a NUL character. Remove it."
BUSY = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL's words for: can't be serialized, deadlock, a lock that was waited for too long."""


class FieldProblem(BaseModel):
    """One field that is at fault."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457. `type` is `urn:millrace:problem:<code>` and never changes for a given cause."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The problem as an answer."""
    problem = Problem(
        type=f"urn:millrace:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        errors=errors,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in OpenAPI: which problems it may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 503, *statuses})
    }


def install(app: FastAPI) -> None:
    """Answer every error of ours, of the framework and of the database in this form."""
    app.add_exception_handler(MillraceError, _ours)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(OperationalError, _unavailable)
    app.add_exception_handler(PoolTimeout, _unavailable)
    app.add_exception_handler(BotoCoreError, _storage_away)
    app.add_exception_handler(ClientError, _storage_away)
    app.add_exception_handler(Exception, _unexpected)
    _describe_in_openapi(app)


def _describe_in_openapi(app: FastAPI) -> None:
    """Put the schema that `describe` refers to into the document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema.pop("$defs")
        document["components"]["schemas"].update({**parts, Problem.__name__: schema})
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MillraceError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
    headers.update(when_again(error))
    return problem_response(error.status, error.code, error.title, str(error), headers=headers)


def when_again(error: MillraceError) -> dict[str, str]:
    """`Retry-After`, which every 429 and 503 has; nothing for the other errors."""
    if isinstance(error, (TooManyRequests, Overloaded)):
        return {"Retry-After": str(error.retry_after)}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    told = None if error.detail != phrase else _said(error.status_code, request)
    return problem_response(
        error.status_code,
        phrase.lower().replace(" ", "_"),
        phrase,
        told or str(error.detail),
        headers=dict(error.headers or {}),
    )


def _said(status: int, request: Request) -> str | None:
    """What to do about an error of the framework's that has nothing but its name."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"This address doesn't take {request.method}. /openapi.json says what it takes."
    if status == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address. /openapi.json lists what there is."
    return None


def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [field_problem(item, request) for item in error.errors()]
    return problem_response(
        422,
        "invalid_parameters",
        "Invalid parameters",
        "Correct the fields listed in 'errors' and send the request again.",
        errors=errors,
    )


def field_problem(item: Mapping[str, Any], request: Request) -> FieldProblem:
    """What is at fault, in words that say what to send instead."""
    place = [str(part) for part in item["loc"]]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "json_invalid":
        place, message = (
            place[:1],
            f"This is no JSON: {item['ctx']['error']} at character {place[-1]}.",
        )
    elif place == ["body"] and item["type"] in {"missing", "model_attributes_type"}:
        message = "Send a JSON object."
        if "json" not in request.headers.get("content-type", ""):
            message = "Send a JSON object, with the header 'Content-Type: application/json'."
    return FieldProblem(field=".".join(place), message=message)


def _unstorable(request: Request, error: Exception) -> JSONResponse:
    """PostgreSQL's text holds no NUL; wherever one is sent, the database is the one to notice."""
    log.warning("http.unstorable", route=route_of(request.scope), error=cause(error))
    return problem_response(
        422,
        "invalid_text",
        "Can't be processed",
        UNSTORABLE,
    )


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state in BUSY:
        log.warning("http.busy", sqlstate=state)
        code, detail = "busy", "Somebody else is changing the same thing. Try again in a moment."
    else:
        log.error("http.database_away", error=type(error).__name__)
        code, detail = "unavailable", "The database doesn't answer. Try again in a few seconds."
    return problem_response(
        503,
        code,
        "Temporarily unavailable",
        detail,
        headers={"Retry-After": str(BUSY_SECONDS if code == "busy" else RETRY_AFTER_SECONDS)},
    )


def _storage_away(_: Request, error: Exception) -> JSONResponse:
    log.error("http.storage_away", error=cause(error))
    return problem_response(
        503,
        "unavailable",
        "Temporarily unavailable",
        "The object store doesn't answer. Try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("http.unexpected", route=route_of(request.scope), exc_info=error)
    return problem_response(
        500,
        "internal",
        "Internal error",
        "Something went wrong on our side. Trying again may help; the cause is in the server's log.",
        # The server closes the connection after an error that nobody caught; who isn't told uses it again.
        headers={"Connection": "close"},
    )
