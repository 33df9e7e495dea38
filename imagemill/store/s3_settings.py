"""What an S3 store must be told: one frozen value, checked when it is made.

The ground floor reads no environment: blocks and apps fill this in. Field names are the block's.
"""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

MAX_PRESIGN_TTL_S = 604_800
"""Seven days: SigV4's own limit (AWS documentation, "Sharing objects with presigned URLs")."""


class S3Settings(BaseModel):
    """Where artifacts go and how to get in.

    Attributes:
        endpoint_url: Empty means AWS.
        presign_endpoint_url: Address that readers of presigned URLs use; the signature covers the
            host, so it cannot be put in afterwards. Empty means `endpoint_url`.
        access_key_id: Empty, with the secret, means boto3's own chain (profile, role, instance).
        addressing_style: `auto` is path style on an endpoint of your own and virtual-host on AWS.
        checksum_mode: `when_required` for providers that refuse boto3's CRC32 (facts/storage.md 3).
        conditional_put: `auto` finds out by trying; `off` asks with HEAD before each PUT.
        max_attempts: Tries within boto3. 1, because the upload task retries.
        max_pool_connections: Connections, and threads, of one store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bucket: str = Field(min_length=1)
    prefix: str = ""
    endpoint_url: str = ""
    presign_endpoint_url: str = ""
    public_base_url: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    checksum_mode: Literal["when_supported", "when_required"] = "when_supported"
    conditional_put: Literal["auto", "on", "off"] = "auto"
    url_mode: Literal["presigned", "public", "s3_uri"] = "presigned"
    presign_ttl_s: int = Field(default=86_400, ge=1, le=MAX_PRESIGN_TTL_S)
    cache_control: str = "public, max-age=31536000, immutable"
    create_bucket: bool = False
    ca_bundle: str = ""
    verify_tls: bool = True
    connect_timeout_s: float = Field(default=5.0, gt=0)
    read_timeout_s: float = Field(default=60.0, gt=0)
    max_attempts: int = Field(default=1, ge=1, le=10)
    max_pool_connections: int = Field(default=16, ge=1, le=256)

    @field_validator("prefix")
    @classmethod
    def _bare_prefix(cls, prefix: str) -> str:
        bare = prefix.strip("/")
        if any(part in {"", ".", ".."} for part in bare.split("/")) and bare:
            raise ValueError("prefix is names joined by single slashes, such as team/images")
        return bare

    @field_validator("endpoint_url", "presign_endpoint_url", "public_base_url")
    @classmethod
    def _bare_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("must be empty or start with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or password: use the key fields")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.access_key_id) != bool(self.secret_access_key.get_secret_value()):
            raise ValueError("access_key_id and secret_access_key: give both or neither")
        if self.url_mode == "public" and not self.public_base_url:
            raise ValueError("url_mode public needs public_base_url")
        return self

    @property
    def botocore_addressing_style(self) -> Literal["path", "virtual"]:
        """Addressing style to tell botocore, whose own `auto` presigns for AWS's global host.

        A bucket elsewhere than us-east-1 answers there with a redirect, which breaks the signature.
        A dot in the bucket's name breaks the host's certificate.
        """
        if self.addressing_style != "auto":
            return self.addressing_style
        return "path" if self.endpoint_url or "." in self.bucket else "virtual"
