"""What runs where: one typed record per service in `<home>/services.json`."""

import importlib.metadata
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NewType
from urllib.parse import urlsplit

from apps.services.processes import Identity, answers, find, listens
from blocks.settings import read_json, write_json

Fixed = Literal["prefect", "object_store", "gateway", "worker", "warm_lane"]
GpuWorker = NewType("GpuWorker", str)
"""Made by `gpu_worker` alone, so that a misspelt name stays a mistake that mypy finds."""
Name = Fixed | GpuWorker
LABELS: dict[Fixed, str] = {
    "prefect": "Prefect server",
    "object_store": "object store",
    "gateway": "gateway",
    "worker": "worker",
    "warm_lane": "warm lane",
}
CORE: tuple[Fixed, ...] = ("prefect", "object_store", "gateway", "worker")
# Stop in this order: whoever uses a service goes before it. GPU workers go with the first.
STOP_ORDER: tuple[Fixed, ...] = ("warm_lane", "worker", "gateway", "prefect", "object_store")
_GPU_WORKER = re.compile(r"gpu_worker_(\d{1,4})")
_writing = threading.Lock()


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service that imagemill started on this machine.

    Attributes:
        name: As `Fixed` has it, or of a `gpu_worker`.
        url: Its address; "" for one that listens nowhere.
        identity: Process id and creation time: a reused id is not mistaken for the service.
        log_path: Its output.
        health_url: Answers below 500 when it is well; "" for one that listens nowhere.
        started_at: UTC.
        version: Of imagemill, when it was started.
        extras: What its users need besides (bucket, access_key_id, gpu); no secrets.
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


def gpu_worker(number: int) -> GpuWorker:
    """Return the name of the worker that has this GPU."""
    return GpuWorker(f"gpu_worker_{number}")


def gpu_worker_number(name: Name) -> int | None:
    """Return which GPU a worker has; None for every other service."""
    found = _GPU_WORKER.fullmatch(name)
    return int(found[1]) if found else None


def label(name: Name) -> str:
    """Return what a service is called in a sentence: "GPU worker 0"."""
    number = gpu_worker_number(name)
    if number is not None:
        return f"GPU worker {number}"
    return next(words for fixed, words in LABELS.items() if fixed == name)


def in_order(names: Iterable[Name]) -> list[Name]:
    """Return names as they are started and shown; GPU workers, by number, before the warm lane."""
    at: dict[Name, int] = {name: place for place, name in enumerate(CORE)}

    def place(name: Name) -> tuple[int, int]:
        number = gpu_worker_number(name)
        return (at.get(name, len(at) + 1), 0) if number is None else (len(at), number)

    return sorted(set(names), key=place)


def _name(value: object) -> Name:
    for name in LABELS:
        if name == value:
            return name
    if isinstance(value, str) and _GPU_WORKER.fullmatch(value):
        return GpuWorker(value)
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
