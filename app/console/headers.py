"""What every page of the console says to the browser about itself.

No inline script or style, nothing from another host, no frame around us; and with Trusted Types required
and no policy allowed, no script of ours can turn text into markup even by mistake: `innerHTML` throws.
The one other host is the object store, for direct uploads.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from app.settings import Settings


def page_headers(settings: Settings, *, frames: bool = False) -> Mapping[str, str]:
    """For pages; they are the signed-in tenant's alone and so are never kept by a cache. With `frames` a
    page may show another of ours inside itself.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "font-src": "'self'",
        "img-src": "'self'",
        "connect-src": " ".join(["'self'", *_store_origins(settings)]),
        "form-action": "'self'",
        "frame-src": "'self'" if frames else "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }


def _store_origins(settings: Settings) -> list[str]:
    """Where presigned URLs may lead."""
    endpoint = settings.s3_public_endpoint_url or settings.s3_endpoint_url
    if endpoint is None:
        host = f"s3.{settings.s3_region}.amazonaws.com"
        return [f"https://{host}", f"https://{settings.s3_bucket}.{host}"]
    parts = urlsplit(endpoint)
    return [f"{parts.scheme}://{parts.netloc}"]
