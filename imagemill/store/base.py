"""What a store is. Bytes go in under their digest; references and URLs come out."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from imagemill.artifact import ArtifactRef


@runtime_checkable
class ContentStore(Protocol):
    """A content-addressed store, S3 underneath. All methods are safe to call concurrently.

    Errors are `StoreUnavailable` (retry the upload) and `StoreMisconfigured` (do not).
    """

    name: str

    async def check(self) -> None:
        """Prove that we can write and read here, and create the bucket when told to."""
        ...

    async def put_file(self, ref: ArtifactRef, path: Path) -> bool:
        """Upload the bytes at `path` under `ref.key`; True if new, False if they lay there."""
        ...

    async def put_bytes(self, ref: ArtifactRef, data: bytes) -> bool:
        """Upload `data` under `ref.key`; True if new, False if it lay there already."""
        ...

    async def put_named(self, key: str, data: bytes, *, media_type: str) -> None:
        """Write `data` under a name of ours (`runs/<run>/manifest.json`), replacing what is there."""
        ...

    async def get(self, ref: ArtifactRef) -> bytes:
        """Read an artifact back and check its digest.

        Raises:
            ArtifactError: missing, or the bytes do not match the digest.
        """
        ...

    async def exists(self, ref: ArtifactRef) -> bool:
        """Tell whether the artifact lies in the store."""
        ...

    def url(self, ref: ArtifactRef) -> str:
        """Return a URL anybody can open: public, or presigned for the block's `presign_ttl_s`."""
        ...

    def named_url(self, key: str) -> str:
        """Return the URL of something written by `put_named`."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...
