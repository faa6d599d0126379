"""`GET /metrics`: what this process counts, for Prometheus."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from prometheus_client.exposition import choose_encoder

from app.errors import Unauthenticated
from app.metrics.declared import Process
from app.metrics.registry import registry

router = APIRouter(tags=["health"])


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
def metrics(
    request: Request,
    accept: Annotated[str, Header()] = "",
    authorization: Annotated[str, Header()] = "",
) -> Response:
    """Prometheus's text format. Nothing in it tells of a tenant; with `MILLRACE_METRICS_TOKEN` set, only who
    has it may look.
    """
    token = request.app.state.settings.metrics_token
    if token is not None:
        wanted = f"Bearer {token.get_secret_value()}"
        if not hmac.compare_digest(authorization.encode("latin-1"), wanted.encode()):
            raise Unauthenticated("Send the metrics token: Authorization: Bearer <token>.")
    encode, content_type = choose_encoder(accept)
    return Response(encode(registry(Process.WEB)), media_type=content_type)
