"""Stop the local services, and tell how they are."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from apps.services.addresses import find_external
from apps.services.ensure import services_lock
from apps.services.launching import Start, quiet
from apps.services.processes import Progress, Say, find, memory_bytes, stop, strays
from apps.services.records import (
    CORE,
    STOP_ORDER,
    Name,
    ServiceRecord,
    alive,
    forget_record,
    imagemill_version,
    in_order,
    label,
    load_records,
)
from apps.services.supervisor_record import find_supervisor
from blocks.settings import Settings
from imagemill.errors import ServiceError

State = Literal["running", "starting", "stale", "stopped", "external"]
# The supervisor stops at most six in turn (all GPU workers are one), 15 s each before it kills.
SUPERVISOR_GRACE_S = 120.0


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """How one service is.

    Attributes:
        state: "running"; "starting" (its process lives, it does not answer yet, or no more);
            "stale" (recorded, but its process is gone); "stopped"; "external" (configured, not
            imagemill's).
        memory_bytes: Resident memory with its children, 0 when not running.
        note: What else one should know, "" if nothing.
        device: What it draws on: "NVIDIA L4, 22.5 GiB"; "" for one that does not draw.
    """

    name: Name
    state: State
    url: str = ""
    pid: int | None = None
    memory_bytes: int = 0
    log_path: Path | None = None
    note: str = ""
    device: str = ""


def status(settings: Settings) -> list[ServiceRow]:
    """Return one row per service, without starting or changing anything.

    GPU workers and the warm lane have a row once they were asked for.
    """
    start = Start(settings, _say_nothing)
    external = find_external(start)
    addresses: dict[Name, str] = {
        "prefect": external.prefect_url,
        "object_store": external.object_store_url,
        "gateway": external.gateway_url,
    }
    return [
        ServiceRow(name, "external", url=addresses[name])
        if external.covers(name)
        else _row(start, name)
        for name in in_order([*CORE, *load_records(start.home)])
    ]


def _row(start: Start, name: Name) -> ServiceRow:
    record = load_records(start.home).get(name)
    if record is None:
        return ServiceRow(name, "stopped")
    process = find(record.identity)
    if process is None:
        again = "`imagemill up --gpu`" if "gpu" in record.extras else "the next command"
        note = f"ended without being asked; {again} starts it again"
        return ServiceRow(name, "stale", url=record.url, log_path=record.log_path, note=note)
    old = record.version != imagemill_version()
    return ServiceRow(
        name,
        "running" if alive(record) else "starting",
        url=record.url,
        pid=record.identity.pid,
        memory_bytes=memory_bytes(process),
        log_path=record.log_path,
        note=f"started by imagemill {record.version}; restart it with down and up" if old else "",
        device=record.extras.get("gpu_name", ""),
    )


def down(settings: Settings, *, say: Say, progress: Progress = quiet) -> list[Name]:
    """Stop all local services of this home, and whatever else of theirs is left over.

    A foreground `imagemill up` is asked to end first, or it would start them again.

    Returns:
        The services that were running and are not any more.

    Raises:
        ServiceError: Another command is busy with the services, or one cannot be stopped.
    """
    start = Start(settings, say, progress=progress)
    if not start.home.exists():
        return []
    recorded = load_records(start.home)
    running = [name for group in _stop_groups(recorded) for name in group if _lives(start, name)]
    if (supervisor := find_supervisor(start.home)) is not None:
        progress("supervisor", "stopping")
        stop(supervisor, grace_s=SUPERVISOR_GRACE_S)
    stop_all(start)
    return running


def stop_all(start: Start) -> None:
    """Stop every service, users of a service before it; then leftovers without a record.

    Raises:
        ServiceError: One cannot be stopped.
    """
    with services_lock(start):
        records = load_records(start.home)
        for group in _stop_groups(records):
            with ThreadPoolExecutor(len(group)) as side_by_side:
                list(side_by_side.map(partial(_stop_one, start), [records[one] for one in group]))
        for leftover in strays(start.home):
            stop(leftover, grace_s=5)
    left = [identity.pid for identity in strays(start.home)]
    if left:
        raise ServiceError(
            f"These processes would not end: {left}.", remedy="End them with kill -9."
        )


def _stop_groups(records: dict[Name, ServiceRecord]) -> list[list[Name]]:
    """Return the recorded services in groups that may end side by side: GPU workers, then each."""
    numbered = [name for name in in_order(records) if name not in STOP_ORDER]
    in_turn: list[list[Name]] = [[name] for name in STOP_ORDER if name in records]
    return [numbered, *in_turn] if numbered else in_turn


def _stop_one(start: Start, record: ServiceRecord) -> None:
    start.progress(record.name, "stopping")
    if stop(record.identity):
        start.say(f"Stopped the {label(record.name)}")
    forget_record(start.home, record.name)


def _lives(start: Start, name: Name) -> bool:
    record = load_records(start.home).get(name)
    return record is not None and find(record.identity) is not None


def _say_nothing(_line: str) -> None:
    """Show nothing: a status only looks."""
