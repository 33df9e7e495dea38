"""Where the services are: imagemill's own by their records, or the ones somebody configured."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from apps.services.launching import Start
from apps.services.ports import remembered_port
from apps.services.processes import answers
from apps.services.records import Name, ServiceRecord, load_records
from apps.services.settings import PrefectShell, loopback_without_proxy
from imagemill.errors import ServiceError

# The shortest Prefect allows. The automation in deployments.bootstrap gives a run up when 75 s
# passed without one: a run with the default of 180 s would be given up while healthy.
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@dataclass(frozen=True, slots=True)
class Services:
    """Where everything is.

    Attributes:
        home: imagemill's home.
        prefect_url: API address; "" when Prefect was not wanted.
        object_store_url: S3 endpoint; "" when the user's own store needs none or none was wanted.
        bucket: Bucket of the embedded store; "" with the user's own.
        gateway_url: Re-signing route; "" when not wanted.
        own_prefect: Whether imagemill runs the Prefect server, or it is somebody else's.
        started: Names of the services that this very call started.
    """

    home: Path
    prefect_url: str = ""
    object_store_url: str = ""
    bucket: str = ""
    gateway_url: str = ""
    own_prefect: bool = True
    started: tuple[Name, ...] = ()

    @property
    def ui_url(self) -> str:
        """The Prefect UI, for a server run by imagemill or like it."""
        return self.prefect_url.removesuffix("/api")

    def environment(self) -> dict[str, str]:
        """Return the variables with which Prefect and imagemill find these services.

        With somebody else's Prefect server, their profile and PREFECT_HOME stay as they are.
        """
        found = {"IMAGEMILL_HOME": str(self.home), **loopback_without_proxy()}
        if self.prefect_url:
            found["PREFECT_API_URL"] = self.prefect_url
            found |= HEARTBEAT
            if self.own_prefect:
                found["PREFECT_HOME"] = str(self.home / "prefect")
                # A profile of the user's own home does not exist in this one.
                shell = PrefectShell()
                if shell.profile:
                    found["PREFECT_PROFILE"] = "ephemeral"
                if shell.profiles_path:
                    found["PREFECT_PROFILES_PATH"] = str(self.home / "prefect" / "profiles.toml")
        if self.gateway_url:
            found["IMAGEMILL_GATEWAY_URL"] = self.gateway_url
        return found


@dataclass(frozen=True, slots=True)
class External:
    """Services that somebody configured; imagemill neither starts nor stops these."""

    prefect_url: str = ""
    prefect_from: str = ""
    object_store_url: str = ""
    own_object_store: bool = True
    gateway_url: str = ""

    def covers(self, name: Name) -> bool:
        """Whether a service is not imagemill's to start."""
        configured: dict[Name, bool] = {
            "prefect": bool(self.prefect_url),
            "object_store": not self.own_object_store,
            "gateway": bool(self.gateway_url),
        }
        return configured.get(name, False)


def find_external(start: Start) -> External:
    """Return what was configured by variables and profiles, except imagemill's own addresses."""
    settings, records = start.settings, load_records(start.home)
    prefect_url, source = PrefectShell().configured_url()
    if _is_own(start, records, "prefect", prefect_url.removesuffix("/api")):
        prefect_url = source = ""
    gateway_url = settings.gateway_url.rstrip("/")
    if _is_own(start, records, "gateway", gateway_url):
        gateway_url = ""
    return External(
        prefect_url=prefect_url,
        prefect_from=source,
        object_store_url=settings.s3_endpoint_url,
        own_object_store=not (settings.s3_endpoint_url or settings.s3_bucket),
        gateway_url=gateway_url,
    )


def _is_own(start: Start, records: dict[Name, ServiceRecord], name: Name, address: str) -> bool:
    """Whether an address is imagemill's: one it recorded, or used before and nobody answers now.

    A child of a service, or a shell that exported what `imagemill status` showed, names it.
    """
    if address == recorded_url(records, name).removesuffix("/api"):
        return True
    remembered = f"http://127.0.0.1:{remembered_port(name, home=start.home)}"
    return address == remembered and answers(address) is None


def recorded_url(records: dict[Name, ServiceRecord], name: Name) -> str:
    """Return the address of a recorded service, or ""."""
    return records[name].url if name in records else ""


def check_external_prefect(start: Start, external: External) -> None:
    """Say that somebody else's server is used, once it answered.

    Raises:
        ServiceError: It does not.
    """
    url = external.prefect_url
    if not _reachable(f"{url}/health"):
        raise ServiceError(
            f"The Prefect server {url} (from {external.prefect_from}) does not answer.",
            remedy="Start it, or unset PREFECT_API_URL and leave the profile to let imagemill run one.",
        )
    start.say(f"Using the Prefect server {url} (from {external.prefect_from})")


def _reachable(url: str) -> bool:
    if urlsplit(url).scheme == "http" and urlsplit(url).hostname in {"127.0.0.1", "localhost"}:
        return (answers(url, timeout_s=5) or 500) < 500
    import httpx

    try:
        return httpx.get(url, timeout=10).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def locate(
    start: Start,
    external: External,
    records: dict[Name, ServiceRecord],
    want: Collection[Name],
    *,
    started: tuple[Name, ...] = (),
) -> Services:
    """Put the addresses together: what is configured comes before what is recorded."""
    store = records.get("object_store") if external.own_object_store else None
    prefect_url = external.prefect_url or recorded_url(records, "prefect")
    gateway_url = external.gateway_url or recorded_url(records, "gateway")
    return Services(
        home=start.home,
        prefect_url=prefect_url if "prefect" in want else "",
        object_store_url=store.url if store else external.object_store_url,
        bucket=store.extras.get("bucket", "") if store else start.settings.s3_bucket,
        gateway_url=gateway_url if "gateway" in want else "",
        own_prefect=not external.prefect_url,
        started=started,
    )
