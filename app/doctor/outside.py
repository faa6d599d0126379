"""The object store and the mail server: whether they take what we would send."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore.exceptions import BotoCoreError, ClientError

from app.doctor.clocks import skew
from app.doctor.findings import Finding, failed, ok
from app.ids import new_id
from app.mailing.smtp import Mailer, MailFailed
from app.settings import Settings
from app.storage import Storage, make_storage

_REFUSALS = {
    "403": "Set MILLRACE_S3_ACCESS_KEY_ID and MILLRACE_S3_SECRET_ACCESS_KEY right, or give the key the bucket.",
    "404": "Run `millrace storage init`, or set MILLRACE_S3_BUCKET right.",
}
_SMTP_STEP_SECONDS = 3.0


def object_store(settings: Settings, *, write: bool) -> Iterator[Finding]:
    """Reads, unless `write`: then an object of our own comes and goes."""
    storage = make_storage(settings, patient=False)
    try:
        said = storage.date()
        yield ok("s3.reach", f"bucket {storage.bucket} answers")
        if said:
            theirs = parsedate_to_datetime(said).timestamp()
            # The header has whole seconds: on average half a second less than the clock.
            yield skew("s3.clock", "the object store", theirs + 0.5 - datetime.now(UTC).timestamp())
        yield _lifecycle(storage)
        if write:
            yield _written(storage)
    except ClientError as error:
        code = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        change = _REFUSALS.get(code, "Look at the object store's log.")
        yield failed("s3.reach", f"bucket {storage.bucket}: status {code or 'unknown'}", change)
    except BotoCoreError as error:
        where = settings.s3_endpoint_url or f"AWS in {settings.s3_region}"
        change = "Start the object store, or set MILLRACE_S3_ENDPOINT_URL right."
        yield failed("s3.reach", f"{where}: {type(error).__name__}", change)


def mail(settings: Settings) -> Iterator[Finding]:
    """Connects, encrypts and logs in as for a mail, and sends none."""
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    step = min(settings.smtp_timeout, _SMTP_STEP_SECONDS)
    try:
        Mailer(settings.model_copy(update={"smtp_timeout": step})).check()
    except MailFailed as refused:
        change = (
            "Set MILLRACE_SMTP_HOST, _PORT, _TLS, _USERNAME and _PASSWORD right. See docs/mail.md."
        )
        yield failed("smtp.reach", f"{where}: {refused}", change)
    else:
        yield ok("smtp.reach", f"{where} takes mail ({settings.smtp_tls.value})")


def _lifecycle(storage: Storage) -> Finding:
    if storage.expires_uploads():
        return ok("s3.lifecycle", "a rule ends unfinished uploads")
    hint = (
        "A dispatcher ends unfinished uploads; a lifecycle rule (AbortIncompleteMultipartUpload, 2 days) would "
        "also where none runs."
    )
    return ok("s3.lifecycle", "no rule ends unfinished uploads", hint=hint)


def _written(storage: Storage) -> Finding:
    key = f"doctor/{new_id()}"
    try:
        storage.put(key, b"millrace doctor", content_type="text/plain")
        storage.delete(key)
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        change = "Allow s3:PutObject and s3:DeleteObject for the key, or free space in the store."
        return failed("s3.write", f"it wasn't taken: {code}", change)
    return ok("s3.write", "an object was written and deleted")
