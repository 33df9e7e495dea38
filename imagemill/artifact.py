"""Artifacts: stored bytes known by their digest, and the manifest of how they came to be."""

import hashlib
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from imagemill.errors import ArtifactError

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""sha256 of the bytes, lower-case hex, 64 characters."""

SUFFIX_BY_MEDIA_TYPE = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "text/html": ".html",
    "application/json": ".json",
}

_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """Return the sha256 of `data`, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def text_digest(text: str) -> str:
    """Return the first 12 hex digits of the text's sha256: how a prompt is named in logs."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def object_key(digest: str, media_type: str) -> str:
    """Return where an artifact lies under the store's prefix: `ab/<digest>.png`.

    Raises:
        ArtifactError: not a digest, or a media type that is not stored.
    """
    if not _DIGEST.fullmatch(digest):
        raise ArtifactError("An artifact is named by its sha256 digest (64 lower-case hex digits).")
    suffix = SUFFIX_BY_MEDIA_TYPE.get(media_type)
    if suffix is None:
        allowed = ", ".join(SUFFIX_BY_MEDIA_TYPE)
        raise ArtifactError(f"Media type {media_type!r} is not stored; allowed are {allowed}.")
    return f"{digest[:2]}/{digest}{suffix}"


class ArtifactRef(BaseModel):
    """A small, JSON-able reference to stored bytes.

    `width_px` and `height_px` are 0 for artifacts that are not images.
    """

    model_config = ConfigDict(frozen=True)

    digest: Digest
    media_type: Literal[
        "image/png", "image/jpeg", "image/webp", "text/html", "application/json"
    ] = "image/png"
    size_bytes: int = Field(ge=0)
    width_px: int = Field(default=0, ge=0)
    height_px: int = Field(default=0, ge=0)

    @property
    def key(self) -> str:
        """Object key below the store's prefix."""
        return object_key(self.digest, self.media_type)
