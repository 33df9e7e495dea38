"""One bucket through boto3: the blocking half of the S3 store, in our errors.

Whether the server honours a conditional PUT is found out by trying, not by its name: two of five
servers tried ignore `If-None-Match` and overwrite (facts/storage.md 1).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from imagemill.artifact import digest_of
from imagemill.errors import ArtifactError, StoreMisconfigured, StoreUnavailable
from imagemill.store.s3_client import code_of, make_client, status_of, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from imagemill.store.s3_settings import S3Settings

T = TypeVar("T")
logger = logging.getLogger(__name__)

_CONFLICT_TRIES = 5
"""AWS answers 409 while another writer of the same key is at work; each try asks who won."""
_CONDITIONAL = {"auto": None, "on": True, "off": False}
_ONLY_NEW = {"IfNoneMatch": "*"}
_PROBE = b"imagemill was here\n"


@dataclass(frozen=True)
class StoredObject:
    """One line of a listing. `key` is below the store's prefix; `modified_at` is aware UTC."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True)
class Refused:
    """The answer, a code or an HTTP status, that the caller said it was ready for."""

    answer: str


class Bucket:
    """Reads, writes and signs for keys below the settings' prefix. Threads may share it."""

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self.name = f"s3://{settings.bucket}/{settings.prefix}".rstrip("/")
        self._bucket = settings.bucket
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        self._clients: dict[str, S3Client] = {}
        self._honours = _CONDITIONAL[settings.conditional_put]

    def check(self) -> None:
        """Write, read and delete a probe object; make the bucket when told to."""
        key = _probe_key()
        self.put(key, _PROBE, media_type="text/plain")
        if self.read(key) != _PROBE:
            raise StoreMisconfigured(
                f"{self.name} returned other bytes than it was given.",
                remedy="Check `endpoint_url` (IMAGEMILL_S3_ENDPOINT_URL): is this an S3 server?",
            )
        self.delete(key)
        self._conditions_honoured()

    def put_new(self, key: str, file: BinaryIO, *, media_type: str, digest: str) -> bool:
        """Upload `file` unless `key` exists; True if it was new.

        Where the server cannot promise it, ask first: should two writers still meet, they write
        the same bytes, for the key is their digest.
        """
        conditional = self._conditions_honoured()
        if not conditional and self.has(key):
            return False
        put = self._putting(
            key,
            file,
            {
                "ContentType": media_type,
                "CacheControl": self.settings.cache_control,
                "Metadata": {"sha256": digest},
                **(_ONLY_NEW if conditional else {}),
            },
        )
        for _ in range(_CONFLICT_TRIES):
            refusal = self._do(put, unless={"412", "409"})
            if refusal is None:
                return True
            if refusal.answer == "412" or self.has(key):
                return False
        raise StoreUnavailable(f"{self.name} keeps answering 409 to the upload of one key.")

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Write or replace `key`. Readers must ask again each time, for it may change."""
        headers = {
            "ContentType": media_type,
            "CacheControl": "no-cache",
            "Metadata": {"sha256": digest_of(data)},
        }
        self._do(self._putting(key, BytesIO(data), headers))

    def read(self, key: str) -> bytes:
        """Return an object's bytes; ArtifactError when there is none."""

        def get() -> bytes:
            return (
                self._client().get_object(Bucket=self._bucket, Key=self._full(key))["Body"].read()
            )

        data = self._do(get, unless={"NoSuchKey"})
        if isinstance(data, Refused):
            raise ArtifactError(f"{key} is not in {self.name}.")
        return data

    def has(self, key: str) -> bool:
        """Tell whether `key` exists."""

        def head() -> None:
            self._client().head_object(Bucket=self._bucket, Key=self._full(key))

        return self._do(head, unless={"404"}) is None

    def delete(self, key: str, *, unless: Collection[str] = ()) -> None:
        """Delete `key`; a missing one is no error, nor is an answer in `unless`."""

        def delete() -> None:
            self._client().delete_object(Bucket=self._bucket, Key=self._full(key))

        self._do(delete, unless=unless)

    def listing(self, prefix: str) -> list[StoredObject]:
        """Return what lies below the settings' prefix and starts with `prefix`, by key."""
        start = self._full("")

        def pages() -> list[StoredObject]:
            paginator = self._client().get_paginator("list_objects_v2")
            return [
                StoredObject(each["Key"].removeprefix(start), each["Size"], each["LastModified"])
                for page in paginator.paginate(Bucket=self._bucket, Prefix=start + prefix)
                for each in page.get("Contents", [])
            ]

        return cast("list[StoredObject]", self._do(pages))

    def sign(self, key: str, *, ttl_s: int) -> str:
        """Return a URL that reads `key` for `ttl_s` seconds. Makes no network call.

        A client of its own signs for `presign_endpoint_url`: the signature covers the host.
        """
        place = {"Bucket": self._bucket, "Key": self._full(key)}
        with translated(self.settings):
            client = self._client(self.settings.presign_endpoint_url)
            return client.generate_presigned_url("get_object", Params=place, ExpiresIn=ttl_s)

    def close(self) -> None:
        """Close connections; the next use opens new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _conditions_honoured(self) -> bool:
        """Tell whether a conditional PUT on what exists is refused; found out once a store.

        Of two conditional PUTs of one new key the first must succeed and the second be refused. Any
        other pair of answers, an error among them, means asking with HEAD instead.
        """
        with self._probing:
            if self._honours is None:
                key = _probe_key()
                put = self._putting(key, BytesIO(_PROBE), _ONLY_NEW)
                answers = [self._do(put, unless={"400", "409", "412", "501"}) for _ in range(2)]
                self.delete(key, unless={"403", "405", "501"})  # some keys may write, not delete
                self._honours = answers == [None, Refused("412")]
                logger.info("%s honours conditional PUT: %s", self.name, self._honours)
            return self._honours

    def _putting(self, key: str, file: BinaryIO, headers: dict[str, Any]) -> Callable[[], None]:
        def put() -> None:
            file.seek(0)
            self._client().put_object(
                Bucket=self._bucket, Key=self._full(key), Body=file, **headers
            )

        return put

    def _do(
        self, work: Callable[[], T], *, unless: Collection[str] = (), create: bool = True
    ) -> T | Refused:
        """Do `work` in our errors; make the bucket when it is missing and we were told to.

        Returns:
            What `work` returns, or `Refused` with the code or status in `unless` that came.
        """
        from botocore.exceptions import ClientError

        with translated(self.settings):
            try:
                return work()
            except ClientError as error:
                for answer in (code_of(error), str(status_of(error))):
                    if answer in unless:
                        return Refused(answer)
                missing = code_of(error) == "NoSuchBucket"
                if not (missing and create and self.settings.create_bucket):
                    raise
            self._create_bucket()
        return self._do(work, unless=unless, create=False)

    def _create_bucket(self) -> None:
        region = self.settings.region
        headers: dict[str, Any] = {"Bucket": self._bucket}
        if not self.settings.endpoint_url and region != "us-east-1":  # AWS alone wants to be told
            headers["CreateBucketConfiguration"] = {"LocationConstraint": region}

        def create() -> None:
            self._client().create_bucket(**headers)

        there = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
        self._do(create, unless=there, create=False)

    def _client(self, endpoint_url: str = "") -> S3Client:
        url = endpoint_url or self.settings.endpoint_url
        with self._lock:
            if url not in self._clients:
                self._clients[url] = make_client(self.settings, endpoint_url=url)
            return self._clients[url]

    def _full(self, key: str) -> str:
        return f"{self.settings.prefix}/{key}" if self.settings.prefix else key


def _probe_key() -> str:
    return f".probe/{secrets.token_hex(16)}"
