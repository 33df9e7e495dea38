"""The object store as a form in the Prefect UI, and how a run gets its store by name.

A block named `default` need not exist: it is made from the environment, or from what `imagemill up`
recorded on this machine.
"""

import logging
import threading
import time
from typing import Any, Literal, NoReturn

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import Field, SecretStr, ValidationError

from blocks.settings import Settings, local_secrets
from imagemill.errors import RequestError, ServiceError, StoreMisconfigured
from imagemill.store.s3 import S3Settings, S3Store

logger = logging.getLogger(__name__)

FRESH_S = 60.0
"""How long a block that was read is believed: an image should not cost a question to the server."""

_lock = threading.Lock()
_open: dict[S3Settings, S3Store] = {}
_known: dict[tuple[str, str], tuple[float, S3Settings]] = {}


class ArtifactStore(Block):
    """An S3 bucket that images, manifests and galleries are written to.

    Any S3 will do: AWS, Cloudflare R2, MinIO, SeaweedFS and others. Leave both keys empty to use
    the machine's own role or profile on AWS.
    """

    _block_type_name = "Artifact Store"
    _block_type_slug = "artifact-store"
    _description = "S3 bucket for images and manifests, with URLs that anybody can open."

    bucket: str = Field(title="Bucket", description="Name of the bucket.")
    prefix: str = Field(
        default="", title="Prefix", description="Folder in the bucket, such as team/images."
    )
    endpoint_url: str = Field(
        default="",
        title="Endpoint URL",
        description="Address of the S3 server, such as http://127.0.0.1:8333; empty for AWS.",
    )
    presign_endpoint_url: str = Field(
        default="",
        title="Endpoint URL for readers",
        description="Address that presigned URLs name, if readers reach the server by another one.",
    )
    public_base_url: str = Field(
        default="",
        title="Public base URL",
        description="Address of a CDN or public bucket, put before the key when URLs are public.",
    )
    region: str = Field(
        default="us-east-1",
        title="Region",
        description="Region of the bucket; auto for Cloudflare R2, any for a server of your own.",
    )
    access_key_id: str = Field(
        default="",
        title="Access key ID",
        description="Access key; empty, with the secret, to use boto3's own chain.",
    )
    secret_access_key: SecretStr = Field(
        default=SecretStr(""), title="Secret access key", description="Secret of the access key."
    )
    session_token: SecretStr = Field(
        default=SecretStr(""),
        title="Session token",
        description="Token that belongs to temporary keys; URLs die with it.",
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        title="Addressing style",
        description="Bucket in the path or in the host name; auto is path except on AWS.",
    )
    checksum_mode: Literal["when_supported", "when_required"] = Field(
        default="when_supported",
        title="Checksums",
        description="Choose when_required if the provider refuses uploads with a CRC32 checksum.",
    )
    conditional_put: Literal["auto", "on", "off"] = Field(
        default="auto",
        title="Conditional upload",
        description="Whether the server refuses to overwrite; auto finds out by trying.",
    )
    url_mode: Literal["presigned", "public", "s3_uri"] = Field(
        default="presigned",
        title="Kind of URL",
        description="Presigned and expiring, public below the base URL, or s3:// for machines.",
    )
    presign_ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=604_800,
        title="Lifetime of presigned URLs",
        description="Seconds until a presigned URL expires, at most 604800 (7 days).",
    )
    cache_control: str = Field(
        default="public, max-age=31536000, immutable",
        title="Cache-Control",
        description="Header stored with each image; its key is its digest, so it never changes.",
    )
    create_bucket: bool = Field(
        default=False, title="Create the bucket", description="Make it when it is missing."
    )
    ca_bundle: str = Field(
        default="", title="CA bundle", description="Path of a file with authorities to trust."
    )
    verify_tls: bool = Field(
        default=True,
        title="Verify TLS",
        description="Check the server's certificate; switch off for experiments only.",
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, title="Connect time-out", description="Seconds to wait for a connection."
    )
    read_timeout_s: float = Field(
        default=60.0, gt=0, title="Read time-out", description="Seconds to wait for an answer."
    )
    max_attempts: int = Field(
        default=1,
        ge=1,
        le=10,
        title="Attempts",
        description="Tries within one upload; 1 is enough, because the upload task retries.",
    )
    max_pool_connections: int = Field(
        default=16,
        ge=1,
        le=256,
        title="Connections",
        description="Uploads and reads at the same time in one process.",
    )

    def settings(self) -> S3Settings:
        """Return the fields as the store wants them.

        Raises:
            StoreMisconfigured: they do not fit together; the field is named, its value is not.
        """
        fields = {name: getattr(self, name) for name in S3Settings.model_fields}
        try:
            return S3Settings(**fields)
        except ValidationError as error:
            raise _misconfigured(error) from None

    def build(self) -> S3Store:
        """Return this process's store for these fields: one set of connections for all who ask."""
        return _opened(self.settings())


async def load_store(name: str = "default") -> S3Store:
    """Return the store that a saved block describes.

    Args:
        name: `NAME` or `artifact-store/NAME`.

    Raises:
        RequestError: no such block (those that exist are listed).
        StoreMisconfigured: its fields do not fit.
        ServiceError: the Prefect server that should know the block does not answer.
    """
    name = name.removeprefix(f"{ArtifactStore.get_block_type_slug()}/")
    where = (name, get_current_settings().api.url or "")
    read_at, settings = _known.get(where, (0.0, None))
    if settings is None or time.monotonic() - read_at > FRESH_S:
        block = await _saved(name)
        settings = block.settings() if block else default_settings(Settings())
        _known[where] = (time.monotonic(), settings)
    return _opened(settings)


def default_settings(settings: Settings) -> S3Settings:
    """Return where artifacts go when nobody saved a block: the environment, or the local server.

    Raises:
        StoreMisconfigured: neither says.
    """
    if settings.s3_bucket or settings.s3_endpoint_url:
        place = _in_environment(settings)
    elif local := settings.services.get("object_store"):
        place = _in_local_server(settings, local)
    else:
        raise StoreMisconfigured(
            "There is no object store.",
            remedy="Start the local one with `imagemill up`, or set IMAGEMILL_S3_BUCKET and, unless "
            "it is on AWS, IMAGEMILL_S3_ENDPOINT_URL.",
        )
    try:
        addresses = {"prefix": settings.s3_prefix, "presign_endpoint_url": settings.s3_public_url}
        return S3Settings(**addresses, **place)
    except ValidationError as error:
        raise _misconfigured(error) from None


def forget_stores() -> None:
    """Forget blocks and stores: the next `load_store` reads anew."""
    with _lock:
        _known.clear()
        _open.clear()


def _opened(settings: S3Settings) -> S3Store:
    with _lock:
        return _open.setdefault(settings, S3Store(settings))


async def _saved(name: str) -> ArtifactStore | None:
    """Return the saved block; None for `default` when it is not saved or nobody can tell.

    Never starts Prefect's ephemeral server just to ask: that takes 20 s in a new home.
    """
    default = name == "default"
    if not _server_is_there():
        return None if default else _no_block(name, "no Prefect server is configured")
    try:
        return await ArtifactStore.aload(name)
    except ValidationError as error:
        raise _misconfigured(error) from None
    except httpx.HTTPError as error:
        if default and isinstance(error, httpx.TransportError):
            logger.warning("The Prefect server does not answer: using the environment's store.")
            return None
        raise ServiceError(
            f"The Prefect server, which keeps the block artifact-store/{name}, does not answer as "
            f"it should ({type(error).__name__}).",
            remedy="Start it (`imagemill up`), or correct PREFECT_API_URL and its key.",
        ) from error
    except ValueError as error:
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        return None if default else _no_block(name, f"saved are: {await _saved_names()}")


def _server_is_there() -> bool:
    """Tell whether Prefect can be asked: its address is set, or a run has it open already."""
    settings = get_current_settings()
    return bool(settings.api.url or AsyncClientContext.get() or SyncClientContext.get())


def _no_block(name: str, reason: str) -> NoReturn:
    raise RequestError(
        f"There is no block artifact-store/{name}; {reason}.",
        remedy="Save it in the Prefect UI under Blocks, or use the name of one that is.",
    ) from None


async def _saved_names() -> str:
    async with get_client() as client:
        try:
            found = await client.read_block_documents_by_type(
                ArtifactStore.get_block_type_slug(), include_secrets=False
            )
        except httpx.HTTPStatusError:  # 404: not even the type was ever registered
            found = []
    return ", ".join(sorted(each.name for each in found if each.name)) or "none"


def _in_environment(settings: Settings) -> dict[str, Any]:
    return {
        "bucket": settings.s3_bucket,
        "endpoint_url": settings.s3_endpoint_url,
        "region": settings.s3_region,
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key,
    }


def _in_local_server(settings: Settings, local: dict[str, Any]) -> dict[str, Any]:
    own = local_secrets(settings.home)
    return {
        "bucket": local.get("bucket", ""),
        "endpoint_url": local.get("url", ""),
        "access_key_id": local.get("access_key_id") or own["s3_access_key_id"],
        "secret_access_key": SecretStr(own["s3_secret_access_key"]),
        "create_bucket": True,
    }


def _misconfigured(error: ValidationError) -> StoreMisconfigured:
    """Name fields and reasons, never values: one of them is the secret."""
    said = "; ".join(
        f"{'.'.join(str(part) for part in each['loc']) or 'store'}: {each['msg']}"
        for each in error.errors(include_input=False, include_context=False, include_url=False)
    )
    return StoreMisconfigured(
        f"The object store's fields do not fit: {said}.",
        remedy="Correct the block artifact-store, or the variable IMAGEMILL_S3_<FIELD>.",
    )
