"""The content store on any S3: digests checked, names checked, URLs signed.

boto3 blocks, so every call runs on this store's own bounded threads. Nothing is retried here except
a lost race for one key: retries live in the tasks.
"""

import asyncio
import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.errors import ArtifactError
from imagemill.store.s3_bucket import Bucket, StoredObject
from imagemill.store.s3_settings import S3Settings

__all__ = ["S3Settings", "S3Store", "StoredObject"]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class S3Store:
    """A `ContentStore` on S3. Safe to share among threads and event loops.

    Connections are opened at first use; after `aclose` the next use opens new ones.

    Args:
        settings: Where, and how to get in.
    """

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self._bucket = Bucket(settings)
        self.name = self._bucket.name
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    async def check(self) -> None:
        """Prove that a probe object can be written, read and deleted; create the bucket if told to.

        Raises:
            StoreMisconfigured: wrong key, secret, bucket or rights; the field to fix is named.
            StoreUnavailable: nobody answers.
        """
        await self._run(self._bucket.check)

    async def put_file(self, ref: ArtifactRef, path: Path) -> bool:
        """Upload the bytes at `path` from disk, never whole in memory; True if new.

        Raises:
            ArtifactError: no such file, or its bytes do not match the digest.
        """

        def upload() -> bool:
            try:
                file = path.open("rb")
            except OSError as error:
                raise ArtifactError(f"{path.name} cannot be read from the spool.") from error
            with file:
                return self._put_new(ref, file)

        return await self._run(upload)

    async def put_bytes(self, ref: ArtifactRef, data: bytes) -> bool:
        """Upload `data` under `ref.key`; True if new, False if it lay there already.

        Raises:
            ArtifactError: the bytes do not match the digest.
        """
        return await self._run(lambda: self._put_new(ref, BytesIO(data)))

    async def put_named(self, key: str, data: bytes, *, media_type: str) -> None:
        """Write `data` under a name of ours, replacing what is there.

        Raises:
            ArtifactError: `key` is not plain names joined by single slashes.
        """
        name = _plain(key)
        # A browser guesses the letters of a page that does not say.
        full_type = f"{media_type}; charset=utf-8" if media_type == "text/html" else media_type
        await self._run(lambda: self._bucket.put(name, data, media_type=full_type))

    async def get(self, ref: ArtifactRef) -> bytes:
        """Read an artifact back and check its digest.

        Raises:
            ArtifactError: missing, or the bytes do not match the digest.
        """
        data = await self._run(lambda: self._bucket.read(ref.key))
        if digest_of(data) != ref.digest:
            raise ArtifactError(
                f"{ref.key} holds bytes that are not what its digest says.",
                remedy="Delete the object and make the image again: the stored copy is damaged.",
            )
        return data

    async def get_named(self, key: str) -> bytes:
        """Read something written by `put_named`; ArtifactError when it is missing."""
        name = _plain(key)
        return await self._run(lambda: self._bucket.read(name))

    async def exists(self, ref: ArtifactRef) -> bool:
        """Tell whether the artifact lies in the store."""
        return await self.exists_named(ref.key)

    async def exists_named(self, key: str) -> bool:
        """Tell whether something lies under `key`."""
        name = _plain(key)
        return await self._run(lambda: self._bucket.has(name))

    async def listing(self, prefix: str = "") -> list[StoredObject]:
        """Return everything below the store's prefix whose key starts with `prefix`, by key."""
        return await self._run(lambda: self._bucket.listing(prefix))

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects by their key below the store's prefix; a missing one is no error.

        One request each: the bulk call differs among providers (facts/storage.md 3).
        """
        works = [partial(self._bucket.delete, _plain(key)) for key in keys]
        await asyncio.gather(*(self._run(work) for work in works))

    def url(self, ref: ArtifactRef) -> str:
        """Return a URL anybody can open: public, or presigned for `presign_ttl_s`."""
        return self.named_url(ref.key)

    def named_url(self, key: str) -> str:
        """Return the URL of an object, in the settings' `url_mode`."""
        if self.settings.url_mode == "presigned":
            return self.presigned_url(key)
        path = f"{self.settings.prefix}/{_plain(key)}".lstrip("/")
        if self.settings.url_mode == "public":
            return f"{self.settings.public_base_url}/{quote(path)}"
        return f"s3://{self.settings.bucket}/{path}"

    def presigned_url(self, key: str, *, ttl_s: int | None = None) -> str:
        """Return a URL that reads one object for `ttl_s` seconds, whatever the `url_mode`."""
        return self._bucket.sign(_plain(key), ttl_s=ttl_s or self.settings.presign_ttl_s)

    async def aclose(self) -> None:
        """Let calls under way finish, then release threads and connections."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads:
            await asyncio.to_thread(threads.shutdown)
        self._bucket.close()

    def _put_new(self, ref: ArtifactRef, file: BinaryIO) -> bool:
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if digest != ref.digest:
            raise ArtifactError(f"The bytes to store as {ref.key} are not what its digest says.")
        return self._bucket.put_new(ref.key, file, media_type=ref.media_type, digest=digest)

    async def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._threads is None:
                count = self.settings.max_pool_connections
                self._threads = ThreadPoolExecutor(count, thread_name_prefix="s3")
            future = self._threads.submit(work)
        return await asyncio.wrap_future(future)


def _plain(key: str) -> str:
    """Return `key` if it is plain names joined by single slashes: nothing can climb out."""
    if not all(_NAME.fullmatch(part) for part in key.split("/")):
        raise ArtifactError("A key is plain names joined by single slashes: runs/<run>/name.json.")
    return key
