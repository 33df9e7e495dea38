"""What the shell says about Prefect and CUDA, read without importing them (which takes seconds)."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PrefectShell(BaseSettings):
    """Prefect's own variables that decide which server a command talks to."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore")

    api_url: str = Field(default="", validation_alias="PREFECT_API_URL")
    home: str = Field(default="", validation_alias="PREFECT_HOME")
    profile: str = Field(default="", validation_alias="PREFECT_PROFILE")
    profiles_path: str = Field(default="", validation_alias="PREFECT_PROFILES_PATH")

    def configured_url(self) -> tuple[str, str]:
        """Return the API URL somebody chose, and where; ("", "") when nobody did.

        The order is Prefect's: environment, `prefect.toml`, `[tool.prefect]`, the active profile.
        """
        if self.api_url:
            return self.api_url.rstrip("/"), "PREFECT_API_URL"
        for file, table in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
            if url := _dig(_read_toml(Path(file)), (*table, "api", "url")):
                return url.rstrip("/"), file
        return self._profile_url()

    def _profile_url(self) -> tuple[str, str]:
        home = Path(self.home) if self.home else Path("~/.prefect").expanduser()
        path = Path(self.profiles_path) if self.profiles_path else home / "profiles.toml"
        profiles = _read_toml(path)
        name = self.profile or _dig(profiles, ("active",))
        url = _dig(profiles, ("profiles", name, "PREFECT_API_URL"))
        return (url.rstrip("/"), f"Prefect profile {name!r}") if url else ("", "")


class GpuShell(BaseSettings):
    """CUDA's own variable that says which GPUs a process may use; None where nobody set it."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore")

    visible_devices: str | None = Field(default=None, validation_alias="CUDA_VISIBLE_DEVICES")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _dig(table: object, keys: tuple[str, ...]) -> str:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, str) else ""


def inherited_environment() -> dict[str, str]:
    """Return this process's environment for a service to start from: its own settings come on top.

    HOME is filled in when unset or empty (Prefect would make `.prefect` in the working folder), and
    loopback is taken out of any proxy's way.
    """
    environment = dict(os.environ)  # noqa: TID251
    if not environment.get("HOME"):
        # expanduser asks the password file only when HOME is unset.
        import pwd

        environment["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    return environment | loopback_without_proxy(environment)


def loopback_without_proxy(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return NO_PROXY entries that keep 127.0.0.1 direct; {} when no proxy is configured."""
    shell = dict(os.environ) if environment is None else environment  # noqa: TID251
    if not any(name.lower() in {"http_proxy", "all_proxy", "https_proxy"} for name in shell):
        return {}
    present = [p for name in ("NO_PROXY", "no_proxy") for p in shell.get(name, "").split(",") if p]
    value = ",".join(dict.fromkeys([*present, "127.0.0.1", "localhost"]))
    return {"NO_PROXY": value, "no_proxy": value}
