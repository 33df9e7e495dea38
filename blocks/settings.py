"""What the environment and this machine's own services say: read here and nowhere else.

The one place that reads the environment (through pydantic-settings) and the two files that local
services leave in imagemill's home: `services.json` (addresses, process ids) and `secrets.json`
(mode 0600). Blocks named `default` are built from these when nobody saved one.
"""

import json
import os
import pwd
import secrets
import sys
import tempfile
from base64 import b64encode
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_data_path
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_home() -> Path:
    """Return the folder for everything imagemill keeps on this machine.

    The platform's user data folder; when HOME is unset or empty, the one in the password file; when
    that cannot be written either, a folder of this user's in the temporary directory.
    """
    home = Path.home() if Path.home().is_absolute() else Path(pwd.getpwuid(os.getuid()).pw_dir)
    folder = user_data_path("imagemill")
    if not folder.is_absolute():
        folder = home / ".local" / "share" / "imagemill"
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if os.access(existing, os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / f"imagemill-{os.getuid()}"


WEIGHTS = "u2netp.onnx"


def shared_weights() -> Path:
    """Return where `make setup-cutout` puts the weights: beside the runtime that loads them."""
    return Path(sys.prefix) / "share" / "imagemill" / WEIGHTS


def shared_sdxl_config() -> Path:
    """Return where `make setup-gpu` puts SDXL's config folder: beside the libraries that read it."""
    return Path(sys.prefix) / "share" / "imagemill" / "sdxl"


class Settings(BaseSettings):
    """Every variable imagemill reads, all optional. See docs/configuration.md.

    Attributes:
        home: Folder for ledger, spool, logs, local services (`IMAGEMILL_HOME`).
        database_url: Where the ledger lives; SQLite in `home` by default.
        s3_*: The object store; the embedded one by default.
        reference_roots: Folders that reference images may be read from, joined as in PATH.
        words_*: A text model at an OpenAI-compatible address that judges and refines assets; prices
            in USD per million tokens, needed unless it runs on this machine or its network.
        u2netp_file: Weights of the segmenter; by default `models/u2netp.onnx` in `home`, else those of
            `make setup-cutout`.
        sdxl_models: A models folder for local SDXL, as ComfyUI keeps it; `sdxl_config` its component
            configs and tokenizers, by default those of `make setup-gpu`; `sdxl_device` auto, cpu, cuda:0.
        comfyui_*: A ComfyUI server of one's own, the workflow it runs (a path or a shipped one's name)
            and the checkpoint in it; by default 127.0.0.1:8188 and make_panel.
        gateway_url: Address of the re-signing route that artifacts in the Prefect UI use.
    """

    model_config = SettingsConfigDict(
        env_prefix="IMAGEMILL_", populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(default_factory=default_home)
    database_url: str = ""
    provider: str = "gemini"
    styles_dir: Path | None = None
    catalog_file: Path | None = None
    s3_endpoint_url: str = ""
    s3_public_url: str = ""
    s3_bucket: str = ""
    s3_prefix: str = ""
    s3_region: str = "us-east-1"
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr = SecretStr("")
    gateway_url: str = ""
    webhook_secret: SecretStr = SecretStr("")
    webhook_private_hosts: str = ""
    reference_roots: str = ""
    words_base_url: str = ""
    words_model: str = ""
    words_api_key: SecretStr = SecretStr("")
    words_input_usd_per_million: Decimal | None = None
    words_output_usd_per_million: Decimal | None = None
    u2netp_file: Path | None = None
    sdxl_models: str = ""
    sdxl_config: Path | None = None
    sdxl_device: str = "auto"
    comfyui_url: str = Field(
        default="", validation_alias=AliasChoices("IMAGEMILL_COMFYUI_URL", "COMFYUI_URL")
    )
    comfyui_workflow: str = ""
    comfyui_checkpoint: str = ""
    google_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="GOOGLE_API_KEY")
    gemini_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="GEMINI_API_KEY")
    google_gemini_base_url: str = Field(default="", validation_alias="GOOGLE_GEMINI_BASE_URL")

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """What `imagemill up` recorded in `services.json`; empty when nothing was started."""
        return read_json(self.home / "services.json")

    @property
    def segmenter_weights(self) -> Path:
        """Where the weights of u2netp lie, if they do: named, in the home, or with this Python."""
        own = self.u2netp_file or self.home / "models" / WEIGHTS
        return own if self.u2netp_file or own.is_file() else shared_weights()

    @property
    def sdxl_config_folder(self) -> Path:
        """Where SDXL's component configs and tokenizers lie: named, or with this Python."""
        return self.sdxl_config or shared_sdxl_config()

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.database_url or f"sqlite:///{self.home / 'ledger.db'}"


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, or {} when the file is missing or half-written."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file in one step, readable by this user only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def local_secrets(home: Path) -> dict[str, str]:
    """Return this machine's own secrets, made at first use: object store key, webhook secret."""
    path = home / "secrets.json"
    found = read_json(path)
    if found:
        return found
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".secrets.lock", timeout=30):
        if not (found := read_json(path)):
            found = {
                "s3_access_key_id": "imagemill",
                "s3_secret_access_key": secrets.token_urlsafe(30),
                "webhook_secret": "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
            }
            write_json(path, found)
    return found
