"""A client of botocore's whose calls are spans: operation and bucket, no key, no header, no URL."""

from typing import Any

from app.traces import spans

_SPAN = "millrace_span"


def watch(client: Any, bucket: str) -> None:
    """Trace the client's calls from now on."""

    def begins(model: Any, context: dict[str, Any], **_: Any) -> None:
        if spans.recording():
            facts = {
                "rpc.system": "aws-api",
                "rpc.service": "S3",
                "rpc.method": model.name,
                "aws.s3.bucket": bucket,
            }
            context[_SPAN] = spans.start(f"S3 {model.name}", facts)

    def ends(http_response: Any, context: dict[str, Any], **_: Any) -> None:
        span = context.pop(_SPAN, None)
        if span is not None:
            span.set_attribute("http.response.status_code", http_response.status_code)
            spans.finish(span)

    def breaks(exception: Exception, context: dict[str, Any], **_: Any) -> None:
        spans.finish(context.pop(_SPAN, None), exception)

    events = client.meta.events
    events.register("before-call.s3", begins)
    events.register("after-call.s3", ends)
    events.register("after-call-error.s3", breaks)
