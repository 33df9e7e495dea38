"""Which port a service gets: the usual one, the one it had, or (said aloud) a free one."""

import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from apps.services.processes import Say, listens_on
from blocks.settings import read_json, write_json
from imagemill.errors import ServiceError

# Prefect's own default; SeaweedFS's S3 default; 4280 is ours.
PREFERRED = {"prefect": 4200, "object_store": 8333, "gateway": 4280}
OPTION = {
    "prefect": "--prefect-port",
    "object_store": "--s3-port",
    "gateway": "--gateway-port",
}


@dataclass(frozen=True, slots=True)
class PortPlan:
    """Ports somebody asked for (None: the usual one) and what to do when one is taken.

    Attributes:
        any_port: Take a free port and say so (batch commands), instead of refusing (`up`).
    """

    prefect: int | None = None
    object_store: int | None = None
    gateway: int | None = None
    any_port: bool = False

    def asked(self, service: str) -> int | None:
        """Return the port asked for by number, if any."""
        asked: int | None = getattr(self, service)
        return asked


def is_free(port: int) -> bool:
    """Whether this process could listen on a loopback port now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do, so that connections of one that just ended do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port nobody listens on now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def holder(port: int) -> str:
    """Return who listens on a port, in words, as far as this user may see."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if not listens_on(connection, port):
                continue
            if connection.pid is None:
                return "a process of another user"
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "a process this user cannot see"


def choose_port(service: str, plan: PortPlan, *, home: Path, say: Say) -> int:
    """Return the port for a service: the wanted one, else a free one if the plan allows.

    Raises:
        ServiceError: The port is taken and no other may be chosen.
    """
    return wanted_port(service, plan, home=home, say=say) or free_port()


def wanted_port(service: str, plan: PortPlan, *, home: Path, say: Say) -> int | None:
    """Return the port asked for, remembered or usual; None when taken and any other will do.

    Args:
        service: "prefect", "object_store" or "gateway".
        plan: Ports asked for, and whether any other will do.
        home: imagemill's home, which remembers the ports used before: links in the Prefect UI
            stay good across restarts.
        say: Told when a port other than the usual or remembered one is taken.

    Raises:
        ServiceError: The port is taken and no other may be chosen.
    """
    usual = plan.asked(service) or PREFERRED[service]
    remembered = remembered_port(service, home=home)
    candidates = [usual]
    if plan.any_port and plan.asked(service) is None and remembered is not None:
        candidates.insert(0, remembered)
    for port in candidates:
        if is_free(port):
            return port
    if not plan.any_port:
        raise ServiceError(
            f"Port {usual} for {service} is taken by {holder(usual)}.",
            remedy=f"Choose another with {OPTION[service]}, or let imagemill choose: --any-port.",
        )
    say(f"{service}: port {usual} is taken by {holder(usual)}; using another.")
    return None


def remember_port(service: str, port: int, *, home: Path) -> None:
    """Keep a port for the next start (called under the services lock)."""
    write_json(home / "ports.json", {**read_json(home / "ports.json"), service: port})


def remembered_port(service: str, *, home: Path) -> int | None:
    """Return the port a service had last, if any."""
    port = read_json(home / "ports.json").get(service)
    return port if isinstance(port, int) else None
