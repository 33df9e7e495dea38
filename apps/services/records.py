"""What runs where: one typed record per service in `<home>/services.json`."""

import importlib.metadata
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from apps.services.processes import Identity, answers, find, listens
from blocks.settings import read_json, write_json

Name = Literal["prefect", "object_store", "gateway", "worker"]
LABELS: dict[Name, str] = {
    "prefect": "Prefect server",
    "object_store": "object store",
    "gateway": "gateway",
    "worker": "worker",
}
# Stop in this order: whoever uses a service goes before it.
STOP_ORDER: tuple[Name, ...] = ("worker", "gateway", "prefect", "object_store")
_writing = threading.Lock()


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service that imagemill started on this machine.

    Attributes:
        name: "prefect", "object_store", "gateway" or "worker".
        url: Its address; "" for one that listens nowhere.
        identity: Process id and creation time: a reused id is not mistaken for the service.
        log_path: Its output.
        health_url: Answers below 500 when it is well; "" for one that listens nowhere.
        started_at: UTC.
        version: Of imagemill, when it was started.
        extras: What its users need besides (bucket, access_key_id); no secrets.
    """

    name: Name
    url: str
    identity: Identity
    log_path: Path
    health_url: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: str = field(default_factory=lambda: imagemill_version())
    extras: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int | None:
        """Port it listens on."""
        return urlsplit(self.url).port

    def to_json(self) -> dict[str, Any]:
        """Return a flat object; extras lie beside the rest."""
        return {
            **self.extras,
            "name": self.name,
            "url": self.url,
            "health_url": self.health_url,
            "pid": self.identity.pid,
            "created_at_s": self.identity.created_at_s,
            "log_path": str(self.log_path),
            "started_at": self.started_at.isoformat(),
            "version": self.version,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ServiceRecord":
        """Read a record back.

        Raises:
            KeyError, TypeError, ValueError: It was not written by `to_json`.
        """
        known = {"name", "url", "health_url", "pid", "created_at_s", "log_path"}
        known |= {"started_at", "version"}
        return cls(
            name=_name(value["name"]),
            url=str(value["url"]),
            health_url=str(value["health_url"]),
            identity=Identity(int(value["pid"]), float(value["created_at_s"])),
            log_path=Path(value["log_path"]),
            started_at=datetime.fromisoformat(value["started_at"]),
            version=str(value["version"]),
            extras={k: str(v) for k, v in value.items() if k not in known},
        )


def _name(value: object) -> Name:
    for name in LABELS:
        if name == value:
            return name
    raise ValueError(value)


def imagemill_version() -> str:
    """Return the installed version, "0" in a bare checkout."""
    try:
        return importlib.metadata.version("imagemill")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def load_records(home: Path) -> dict[Name, ServiceRecord]:
    """Return what was recorded; entries that cannot be read are as good as absent."""
    records: dict[Name, ServiceRecord] = {}
    for value in read_json(home / "services.json").values():
        try:
            record = ServiceRecord.from_json(value)
            records[record.name] = record
        except (KeyError, TypeError, ValueError):
            continue
    return records


def save_record(home: Path, record: ServiceRecord) -> None:
    """Add or replace one record. Across processes, call under the services lock."""
    with _writing:
        path = home / "services.json"
        write_json(path, {**read_json(path), record.name: record.to_json()})


def forget_record(home: Path, name: Name) -> None:
    """Remove one record, if it is there."""
    with _writing:
        path = home / "services.json"
        recorded = read_json(path)
        if recorded.pop(name, None) is not None:
            write_json(path, recorded)


def alive(record: ServiceRecord, *, timeout_s: float = 2.0) -> bool:
    """Whether a recorded service runs, is the very process recorded, and answers on its port.

    A stranger on the recorded port does not count, however well it answers: the listener must be
    the recorded process or one of its children.
    """
    process = find(record.identity)
    if process is None:
        return False
    if not record.health_url:
        return True
    port = record.port
    if port is None or not listens(process, port):
        return False
    status = answers(record.health_url, timeout_s=timeout_s)
    return status is not None and status < 500
