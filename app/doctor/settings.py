"""Settings that are right for a laptop and wrong for production."""

from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from app.doctor.findings import Finding, failed, ok, warning
from app.sealing import MIN_KEY_CHARS
from app.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", None})
_GUESSED = frozenset(
    {*("", "admin", "changeme", "change-me", "guest", "millrace", "password", "postgres"), "secret"}
)
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})


def settings_of(settings: Settings) -> Iterator[Finding]:
    """What an attacker or a customer would find first. No secret is in any finding."""
    findings = [
        *_passwords(settings),
        *_sealing(settings),
        *_in_the_clear(settings),
        *_links(settings),
        *_open_doors(settings),
    ]
    yield from findings or [ok("settings", "none is known to be unsafe")]


def _passwords(settings: Settings) -> Iterator[Finding]:
    urls = {
        "MILLRACE_DATABASE_URL": settings.database_url,
        "MILLRACE_DATABASE_DIRECT_URL": settings.database_direct_url,
        "MILLRACE_BROKER_URL": settings.broker_url,
    }
    for name, secret in urls.items():
        url = urlsplit(secret.get_secret_value()) if secret else None
        if url is not None and unquote(url.password or "").lower() in _GUESSED:
            say = warning if url.hostname in _LOOPBACK else failed
            found = f"{name} has no password, or one that anybody would try first"
            yield say("settings.passwords", found, "Set a random one.")
    key = settings.s3_secret_access_key
    if key is not None and key.get_secret_value().lower() in _GUESSED:
        found = "MILLRACE_S3_SECRET_ACCESS_KEY is one that anybody would try first"
        yield failed("settings.passwords", found, "Make a new key.")


def _sealing(settings: Settings) -> Iterator[Finding]:
    keys = [key.get_secret_value() for key in settings.sealing_keys]
    wanted = (
        f"Set it to at least {MIN_KEY_CHARS} random characters, and keep it with the backups' keys."
    )
    if not keys:
        found = "MILLRACE_SEALING_KEYS isn't set: customers' secrets can't be kept, nor opened"
        yield failed("settings.sealing_keys", found, wanted)
    elif any(len(key) < MIN_KEY_CHARS for key in keys):
        yield failed("settings.sealing_keys", "a key of MILLRACE_SEALING_KEYS is too short", wanted)


def _in_the_clear(settings: Settings) -> Iterator[Finding]:
    for name, secret in (
        ("MILLRACE_DATABASE_URL", settings.database_url),
        ("MILLRACE_DATABASE_DIRECT_URL", settings.database_direct_url),
    ):
        url = urlsplit(secret.get_secret_value()) if secret else None
        if url is not None and url.hostname not in _LOOPBACK:
            mode = parse_qs(url.query).get("sslmode", [""])[0]
            if mode not in _ENCRYPTED:
                found = f"{name} doesn't insist on TLS"
                yield warning(
                    "settings.tls", found, "Add ?sslmode=verify-full, unless the network is yours."
                )
    for name, address, plain in (
        ("MILLRACE_BROKER_URL", settings.broker_url.get_secret_value(), "amqp"),
        ("MILLRACE_S3_ENDPOINT_URL", settings.s3_endpoint_url or "", "http"),
        ("MILLRACE_S3_PUBLIC_ENDPOINT_URL", settings.s3_public_endpoint_url or "", "http"),
    ):
        parts = urlsplit(address)
        if parts.scheme == plain and parts.hostname not in _LOOPBACK:
            change = f"Use {plain}s://, unless the network is yours."
            yield warning("settings.tls", f"{name} goes over the network in the clear", change)


def _links(settings: Settings) -> Iterator[Finding]:
    public = urlsplit(settings.public_url)
    served = urlsplit(settings.database_url.get_secret_value()).hostname not in _LOOPBACK
    if public.hostname in _LOOPBACK and served:
        found = (
            f"MILLRACE_PUBLIC_URL is {public.scheme}://{public.netloc}: links in mail lead nowhere"
        )
        yield failed(
            "settings.public_url", found, "Set it to where customers reach the web process."
        )
    elif public.scheme != "https" and public.hostname not in _LOOPBACK:
        found = "MILLRACE_PUBLIC_URL isn't https: cookies and keys go in the clear"
        yield warning("settings.public_url", found, "Put TLS in front, and set it to https://...")
    if settings.mail_from.rstrip("> ").endswith(".example") and served:
        found = "MILLRACE_MAIL_FROM is the example's"
        yield warning("settings.mail_from", found, "Set it to an address of yours.")


def _open_doors(settings: Settings) -> Iterator[Finding]:
    if settings.outbound_allowed_networks:
        found = "MILLRACE_OUTBOUND_ALLOWED_NETWORKS lets customers' webhooks into networks of yours"
        yield warning("settings.outbound", found, "Leave it empty in production.")
    if settings.metrics_token is None:
        found = "MILLRACE_METRICS_TOKEN isn't set: whoever reaches the web process reads /metrics"
        yield warning("settings.metrics", found, "Set it, or keep /metrics from the public.")
