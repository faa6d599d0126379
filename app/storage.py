"""S3: the bytes. One small class over boto3, limited to what AWS, SeaweedFS and rclone all do."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, BinaryIO, Literal
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from app.object_reader import ObjectReader
from app.settings import Settings
from app.traces import s3 as traced

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_BLOCK_BYTES = 1024 * 1024
READ_TRIES = 3
_BUFFER_BYTES = 128 * 1024
_BROKEN_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""An answer that began well and ended early: what botocore itself doesn't try again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part of a multipart upload; numbers start at 1."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class StoredPart(Part):
    """As the store lists it; `size` is bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that is neither complete nor aborted."""

    key: str
    id: str
    begun_at: datetime


class PartTaken(Exception):
    """The store has passed the part's first version on already, and can't take another (rclone)."""


UploadMarker = tuple[str, str]
"""A place in the list of open uploads, in the store's own words: some name the last one that was listed,
others the next.
"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object; `size` is bytes, `modified_at` the store's own time."""

    key: str
    size: int
    modified_at: datetime


def below_tenant(tenant_id: UUID) -> str:
    """What the keys of all of a tenant's objects begin with: with it they go."""
    return f"tenants/{tenant_id}/"


class Storage:
    """One bucket. Safe to share between threads. Raises botocore's errors as they come."""

    def __init__(
        self, client: "S3Client", bucket: str, *, presigner: "S3Client | None" = None
    ) -> None:
        self._client = client
        self._presigner = presigner or client
        self.bucket = bucket

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
                raise
            self._client.create_bucket(Bucket=self.bucket)

    def check(self) -> None:
        """Raise unless the bucket answers."""
        self._client.head_bucket(Bucket=self.bucket)

    def date(self) -> str | None:
        """The store's clock, as its answer's Date header has it. Raises unless the bucket answers."""
        answer = self._client.head_bucket(Bucket=self.bucket)
        return answer["ResponseMetadata"]["HTTPHeaders"].get("date")

    def expires_uploads(self) -> bool:
        """Whether a lifecycle rule of the bucket ends unfinished uploads; no for stores that have no rules."""
        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)
        except ClientError:
            return False
        return any("AbortIncompleteMultipartUpload" in rule for rule in answer.get("Rules", ()))

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Store a small object whole."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def begin_multipart(self, key: str, *, content_type: str) -> str:
        """Open a multipart upload; returns its id."""
        answer = self._client.create_multipart_upload(
            Bucket=self.bucket, Key=key, ContentType=content_type
        )
        return answer["UploadId"]

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        """Store part `number` (from 1). All parts but the last are at least 5 MiB. Put once more, the part is
        what was put last. Raises PartTaken where a store can't do that.
        """
        try:
            answer = self._client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotImplemented":
                raise
            raise PartTaken(f"part {number} of {key}") from error
        return Part(number, answer["ETag"])

    def presign_part(self, key: str, upload_id: str, number: int, *, seconds: int) -> str:
        """A URL that takes part `number` by a plain PUT from anybody who has it, for so long."""
        return self._presigner.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
            },
            ExpiresIn=seconds,
        )

    def presign(
        self, key: str, *, seconds: int, filename: str | None = None, content_type: str = ""
    ) -> str:
        """A URL from which anybody who has it may fetch the object, for so long. With a `filename` (ASCII) it is saved
        under that name, as `content_type`; else shown as it was stored.
        """
        saved = {
            "ResponseContentDisposition": f'attachment; filename="{filename}"',
            "ResponseContentType": content_type,
        }
        return self._presigner.generate_presigned_url(
            "get_object",
            Params={"Bucket": self.bucket, "Key": key, **({} if filename is None else saved)},
            ExpiresIn=seconds,
        )

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """The parts that have arrived, by number; None for an upload that is not open (any more)."""
        parts: list[StoredPart] = []
        marker = 0
        try:
            while True:
                answer = self._client.list_parts(
                    Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumberMarker=marker
                )
                parts += [
                    StoredPart(part["PartNumber"], part["ETag"], part["Size"])
                    for part in answer.get("Parts", [])
                ]
                if not answer.get("IsTruncated"):
                    return sorted(parts, key=lambda part: part.number)
                marker = parts[-1].number
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchUpload"}:
                raise
            return None

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Turn the parts into the object."""
        self._client.complete_multipart_upload(
            Bucket=self.bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={
                "Parts": [
                    {"PartNumber": part.number, "ETag": part.etag}
                    for part in sorted(parts, key=lambda part: part.number)
                ]
            },
        )

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Drop an open upload and its parts; an unknown one is fine."""
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchUpload"}:
                raise

    def open_uploads(self, *, limit: int = 1000) -> list[OpenUpload]:
        """Multipart uploads that are open now, at most `limit`."""
        return self.open_uploads_page(limit=limit)[0]

    def open_uploads_page(
        self, *, after: UploadMarker | None = None, limit: int = 1000
    ) -> tuple[list[OpenUpload], UploadMarker | None]:
        """Uploads that are open now, at most `limit`, and where the next page begins; None at the end."""
        key, upload_id = after or ("", "")
        try:
            answer = self._client.list_multipart_uploads(
                Bucket=self.bucket, MaxUploads=limit, KeyMarker=key, UploadIdMarker=upload_id
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":  # rclone's word for none
                raise
            return [], None
        uploads = [
            OpenUpload(upload["Key"], upload["UploadId"], upload["Initiated"])
            for upload in answer.get("Uploads", [])
        ]
        if not answer.get("IsTruncated"):
            return uploads, None
        return uploads, (answer["NextKeyMarker"], answer.get("NextUploadIdMarker", ""))

    def head(self, key: str) -> StoredObject | None:
        """What is known about the object; None when it isn't there."""
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            return None
        return StoredObject(key, answer["ContentLength"], answer["LastModified"])

    def open(self, key: str, *, size: int | None = None) -> BinaryIO:
        """The object as a seekable file, read by ranges in bounded memory. Raises FileNotFoundError.

        Who knows its `size` saves a request; then one that isn't there is an error of the first read.
        """
        if size is None:
            found = self.head(key)
            if found is None:
                raise FileNotFoundError(key)
            size = found.size
        reader = ObjectReader(partial(self.read_range, key), size)
        return io.BufferedReader(reader, _BUFFER_BYTES)

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes `start` (included) to `end` (excluded), whole in memory."""
        for tries_left in reversed(range(READ_TRIES)):
            answer = self._client.get_object(
                Bucket=self.bucket, Key=key, Range=f"bytes={start}-{end - 1}"
            )
            try:
                return answer["Body"].read()
            except _BROKEN_OFF:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def stream(self, key: str) -> Iterator[bytes]:
        """The object's bytes in blocks of about 1 MiB."""
        body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
        try:
            yield from body.iter_chunks(READ_BLOCK_BYTES)
        finally:
            body.close()

    def keys(self, prefix: str = "") -> list[str]:
        """Keys below `prefix` (at most 1,000)."""
        answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def list_objects(
        self, prefix: str, *, after: str = "", limit: int = 1000
    ) -> list[StoredObject]:
        """The objects below `prefix` whose keys sort after `after`, in order, at most `limit`."""
        answer = self._client.list_objects_v2(
            Bucket=self.bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit
        )
        return [
            StoredObject(item["Key"], item["Size"], item["LastModified"])
            for item in answer.get("Contents", [])
        ]

    def delete(self, key: str) -> None:
        """Delete the object; an absent one is fine."""
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with `prefix`, a page at a time; how many they were.

        One by one: not every store that we know takes a list of keys.
        """
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} is no folder")
        number = 0
        while page := self.list_objects(prefix):
            for item in page:
                self.delete(item.key)
            number += len(page)
        return number


@lru_cache(maxsize=4)
def make_storage(settings: Settings, *, patient: bool = True) -> Storage:
    """The configured bucket. Connects on first use; impatient, it asks once and waits for seconds only."""
    outside = settings.s3_public_endpoint_url
    return Storage(
        _client(settings, settings.s3_endpoint_url, patient=patient),
        settings.s3_bucket,
        presigner=_client(settings, outside) if outside else None,
    )


def store_check(settings: Settings) -> Callable[[], None]:
    """`Storage.check` of an impatient client, which is made once, when it is first asked: making one takes a second on a
    busy machine.
    """
    impatient = cache(partial(make_storage, settings, patient=False))
    return lambda: impatient().check()


def _client(settings: Settings, endpoint_url: str | None, *, patient: bool = True) -> "S3Client":
    secret = settings.s3_secret_access_key
    make = _make_client if settings.otlp_endpoint is None else _make_client.__wrapped__
    client = make(
        endpoint_url,
        region=settings.s3_region,
        key_id=settings.s3_access_key_id,
        secret=secret.get_secret_value() if secret else None,
        checksums=settings.s3_checksums,
        patient=patient,
    )
    if settings.otlp_endpoint is not None:
        traced.watch(client, settings.s3_bucket)
    return client


@lru_cache(maxsize=8)
def _make_client(
    endpoint_url: str | None,
    *,
    region: str,
    key_id: str | None,
    secret: str | None,
    checksums: bool,
    patient: bool,
) -> "S3Client":
    """All buckets of a store share it: to make one takes botocore as long as dozens of requests."""
    when: Literal["when_supported", "when_required"] = (
        "when_supported" if checksums else "when_required"
    )
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            request_checksum_calculation=when,
            response_checksum_validation=when,
            connect_timeout=5 if patient else 3,
            read_timeout=60 if patient else 3,
            retries={"mode": "standard", "max_attempts": 5 if patient else 1},
            max_pool_connections=16,
        ),
    )
    return client
