"""boto3 at arm's length: how a client is made, and what its errors mean in our words.

boto3 and botocore are imported here, inside functions, and nowhere else. Foreign messages are not
repeated: they may quote keys. Their codes and HTTP statuses are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagemill.errors import ArtifactError, StoreError, StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

    from imagemill.store.s3_settings import S3Settings

_BUSY = {"SlowDown", "RequestTimeout", "RequestLimitExceeded", "Throttling", "TooManyRequests"}

_FIX = {
    "SignatureDoesNotMatch": "Correct `secret_access_key` (IMAGEMILL_S3_SECRET_ACCESS_KEY).",
    "InvalidAccessKeyId": "Correct `access_key_id` (IMAGEMILL_S3_ACCESS_KEY_ID).",
    "ExpiredToken": "Renew `session_token`, or use keys that do not expire.",
    "InvalidToken": "Renew `session_token`, or use keys that do not expire.",
    "RequestTimeTooSkewed": "Set this machine's clock: it differs too much from the server's.",
    "NoSuchBucket": "Correct `bucket` (IMAGEMILL_S3_BUCKET), create it, or set `create_bucket`.",
    "InvalidBucketName": "Correct `bucket` (IMAGEMILL_S3_BUCKET): it is not a valid name.",
    "PermanentRedirect": "Correct `region` (IMAGEMILL_S3_REGION) or `endpoint_url`.",
    "AuthorizationHeaderMalformed": "Correct `region` (IMAGEMILL_S3_REGION).",
    "IllegalLocationConstraintException": "Correct `region` (IMAGEMILL_S3_REGION).",
    "NotImplemented": "Set `checksum_mode` to when_required; this server may refuse boto3's CRC32.",
}
_FIX_BY_STATUS = {
    301: _FIX["PermanentRedirect"],
    401: "Set `checksum_mode` to when_required (Cloudflare R2), or correct the key fields.",
    403: (
        "Allow this key to read, write and delete in the bucket, or correct `access_key_id` and "
        "`secret_access_key` (IMAGEMILL_S3_ACCESS_KEY_ID, IMAGEMILL_S3_SECRET_ACCESS_KEY)."
    ),
    404: _FIX["NoSuchBucket"],
    501: _FIX["NotImplemented"],
}
_FIX_OTHER = "Check `endpoint_url` (IMAGEMILL_S3_ENDPOINT_URL) and the other store fields."


def make_client(settings: S3Settings, *, endpoint_url: str) -> S3Client:
    """Return a boto3 client for `endpoint_url`, signing with SigV4. Makes no network call.

    Args:
        settings: Keys, time-outs and style.
        endpoint_url: The settings' own, or the one that presigned URLs must name. Empty means AWS.
    """
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",  # botocore still presigns SigV2 in us-east-1 when left alone
        s3={"addressing_style": settings.botocore_addressing_style},
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        max_pool_connections=settings.max_pool_connections,
        proxies={} if _is_loopback(endpoint_url) else None,  # None: those of the environment
        request_checksum_calculation=settings.checksum_mode,
        response_checksum_validation=settings.checksum_mode,
    )
    verify: bool | str = (settings.ca_bundle or True) if settings.verify_tls else False
    with translated(settings):
        return Session().client(
            "s3",
            endpoint_url=endpoint_url or None,
            region_name=settings.region or None,
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=settings.secret_access_key.get_secret_value() or None,
            aws_session_token=settings.session_token.get_secret_value() or None,
            verify=verify,
            config=config,
        )


def _is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine, which no proxy stands before."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


@contextmanager
def translated(settings: S3Settings) -> Iterator[None]:
    """Turn whatever boto3 raises inside into a `StoreError` or an `ArtifactError`."""
    from botocore import exceptions as boto
    from urllib3.exceptions import HTTPError

    where = f"The object store at {settings.endpoint_url or 'AWS'}"
    try:
        yield
    except boto.ClientError as error:
        raise refusal(error, where=where) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise StoreMisconfigured(
            f"{where} needs keys and none were found.",
            remedy="Set `access_key_id` and `secret_access_key` (IMAGEMILL_S3_ACCESS_KEY_ID, "
            "IMAGEMILL_S3_SECRET_ACCESS_KEY).",
        ) from error
    except boto.SSLError as error:
        raise StoreMisconfigured(
            f"{where} speaks no TLS, or shows a certificate that is not trusted here.",
            remedy="Set `ca_bundle`, or correct `endpoint_url` (IMAGEMILL_S3_ENDPOINT_URL).",
        ) from error
    except boto.FlexibleChecksumError as error:
        raise ArtifactError(f"{where} sent bytes that do not match its own checksum.") from error
    except (
        boto.HTTPClientError,
        boto.ConnectionError,
        boto.IncompleteReadError,
        HTTPError,
    ) as error:
        raise StoreUnavailable(
            f"{where} does not answer ({type(error).__name__}).",
            remedy="Start it (`imagemill up`) or correct `endpoint_url` "
            "(IMAGEMILL_S3_ENDPOINT_URL).",
        ) from error
    except (boto.BotoCoreError, ValueError) as error:
        raise StoreMisconfigured(
            f"boto3 refuses the store's settings ({type(error).__name__}).", remedy=_FIX_OTHER
        ) from error


def refusal(error: ClientError, *, where: str) -> StoreError:
    """Return our error for a `ClientError`: away for now, or set up wrongly."""
    code, status = code_of(error), status_of(error)
    said = f"{where} answered {code} (HTTP {status})."
    if code in _BUSY or status == 429 or (status >= 500 and status != 501):
        return StoreUnavailable(said, remedy="The upload is retried; nothing is paid again.")
    return StoreMisconfigured(said, remedy=_FIX.get(code) or _FIX_BY_STATUS.get(status, _FIX_OTHER))


def code_of(error: ClientError) -> str:
    """Return a `ClientError`'s code, such as `NoSuchKey`; HEAD has only the status as text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return a `ClientError`'s HTTP status, 0 when it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
