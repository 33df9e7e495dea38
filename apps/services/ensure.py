"""Find the local services by what is recorded about them, or start them and say so."""

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from filelock import FileLock, Timeout

from apps.services.addresses import (
    External,
    Services,
    check_external_prefect,
    find_external,
    locate,
    recorded_url,
)
from apps.services.gateway_process import start_gateway
from apps.services.gpus import Gpu
from apps.services.launching import Start, await_record, quiet
from apps.services.ports import PortPlan
from apps.services.prefect_server import start_prefect
from apps.services.preparation import is_prepared, prepare
from apps.services.processes import Progress, Say, find, stop
from apps.services.records import (
    Name,
    ServiceRecord,
    alive,
    forget_record,
    in_order,
    label,
    load_records,
)
from apps.services.worker import start_gpu_worker, start_warm_lane, start_worker
from blocks.settings import Settings
from imagemill.errors import ServiceError

Preparation = Literal["none", "objects", "deployments"]
WANTED: frozenset[Name] = frozenset({"prefect", "object_store", "gateway"})
# Longer than all starts together may take: the one who waits finds everything running.
LOCK_TIMEOUT_S = 300.0
# How long one that has been up may fail to answer until it is restarted.
MUTE_S = 10.0
ANY_PORT = PortPlan(any_port=True)


def ensure_services(
    settings: Settings,
    *,
    say: Say,
    want: Collection[Name] = WANTED,
    preparation: Preparation = "objects",
    progress: Progress = quiet,
    ports: PortPlan = ANY_PORT,
) -> Services:
    """Return the services, starting (and recording) those that do not run.

    Two commands at once start one set: the second waits for the first. When all run, this takes no
    lock and imports no Prefect. Services started here outlive the calling process.

    Args:
        settings: Where home is; whose object store is used.
        say: Told in one line each what was started or found configured.
        want: Names of services.
        preparation: What must exist on the Prefect server: nothing ("none"); pool, limits, block
            types and the automation ("objects"); or the deployments too.
        progress: Told a few times a second (service, "3 s"), from several threads.
        ports: Which ports, and whether another may be taken instead.

    Raises:
        ServiceError: A service cannot be started, or a configured Prefect server is away.
    """
    start = Start(settings, say, progress=progress, ports=ports)
    return ensure(start, want=want, preparation=preparation)


def ensure(
    start: Start, *, want: Collection[Name] = WANTED, preparation: Preparation = "objects"
) -> Services:
    """Do what `ensure_services` does, with everything about the start in one value.

    Raises:
        ServiceError: A service cannot be started, or a configured Prefect server is away.
    """
    external = find_external(start)
    if "prefect" in want and external.prefect_url:
        check_external_prefect(start, external)
    preparation = preparation if "prefect" in want else "none"
    mine = [name for name in in_order(want) if not external.covers(name)]
    records = load_records(start.home)
    if _all_well(start, records, mine) and _prepared(start, external, preparation):
        return locate(start, external, records, want)
    with services_lock(start):
        started = _start_missing(start, external, mine, preparation)
    return locate(start, external, load_records(start.home), want, started=started)


@contextmanager
def services_lock(start: Start) -> Iterator[None]:
    """Hold the lock under which services are started and stopped.

    Raises:
        ServiceError: Home cannot be written, another command holds the lock too long, or the wait
            was cancelled.
    """
    try:
        start.home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(start.home / ".services.lock")
        _acquire(start, lock)
    except OSError as error:  # filelock's own Timeout never gets here
        raise ServiceError(
            f"imagemill's home {start.home} cannot be written: {error}.",
            remedy="Set IMAGEMILL_HOME to a folder of yours.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(start: Start, lock: FileLock) -> None:
    began = time.monotonic()
    said = False
    while True:
        try:
            lock.acquire(timeout=0.5 if said else 0)
        except Timeout as error:
            if not said:
                start.say("Another imagemill command is starting or stopping services; waiting.")
            said = True
            if start.cancelled.is_set() or time.monotonic() - began > LOCK_TIMEOUT_S:
                raise ServiceError(
                    "Another imagemill command is busy starting or stopping the services.",
                    remedy="Wait for it or end it, then try again.",
                ) from error
        else:
            return


def _start_missing(
    start: Start, external: External, mine: list[Name], preparation: Preparation
) -> tuple[Name, ...]:
    """Start what does not run: store and Prefect side by side, then those that use them."""
    records = load_records(start.home)
    missing = frozenset(name for name in mine if not _runs(start, records.get(name)))
    todo = _Todo(start, external, missing, preparation)
    _side_by_side(start, [todo.object_store, todo.prefect])
    _side_by_side(start, [todo.gateway, todo.objects_and_worker])
    _side_by_side(start, todo.on_gpus())
    return tuple(in_order(missing))


@dataclass(frozen=True, slots=True)
class _Todo:
    """What one call has to start; each method does nothing when its service runs."""

    start: Start
    external: External
    missing: frozenset[Name]
    preparation: Preparation

    def object_store(self) -> None:
        if "object_store" in self.missing:
            # Imported here, for it brings boto3 (0.7 s), which a warm call does not need.
            from apps.services.object_store import start_object_store

            _say_started(self.start, start_object_store(self.start))

    def prefect(self) -> None:
        if "prefect" in self.missing:
            _say_started(self.start, start_prefect(self.start))

    def gateway(self) -> None:
        if "gateway" in self.missing:
            _say_started(self.start, start_gateway(self.start, self._environment()))

    def objects_and_worker(self) -> None:
        if not _prepared(self.start, self.external, self.preparation):
            environment, key = self._environment(), _key(self.external)
            prepare(self.start, environment, key=key, level=self.preparation)
        if "worker" in self.missing:
            _say_started(self.start, start_worker(self.start, self._environment()))

    def on_gpus(self) -> list[Callable[[], None]]:
        gpus = self.start.gpus.by_name()
        return [partial(self._on_gpu, name, gpus[name]) for name in gpus if name in self.missing]

    def _on_gpu(self, name: Name, gpu: Gpu) -> None:
        begin = start_warm_lane if name == "warm_lane" else start_gpu_worker
        _say_started(self.start, begin(self.start, self._environment(), gpu))

    def _environment(self) -> dict[str, str]:
        # A worker or gateway uses Prefect if it is there, whoever wanted it.
        records = load_records(self.start.home)
        return locate(self.start, self.external, records, WANTED).environment()


def _side_by_side(start: Start, lines: list[Callable[[], None]]) -> None:
    """Run all at once; the first failure (or Ctrl-C) ends the waiting of the others."""
    if not lines:
        return
    with ThreadPoolExecutor(len(lines)) as pool:
        pending: set[Future[None]] = {pool.submit(line) for line in lines}
        failure: BaseException | None = None
        while pending:
            try:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as interrupt:
                failure = interrupt
                start.cancelled.set()
                continue
            errors = [error for future in done if (error := future.exception()) is not None]
            failure = failure or next(iter(errors), None)
            if failure is not None:
                start.cancelled.set()
    if failure is not None:
        raise failure


def _runs(start: Start, record: ServiceRecord | None) -> bool:
    """Whether a recorded service runs; one still in the making gets the time to come up."""
    if record is None:
        return False
    if not start.gpus.fits(record):
        start.say(f"The {label(record.name)} is to have another GPU; restarting it.")
        stop(record.identity)
    elif alive(record):
        return True
    elif find(record.identity) is not None:
        age_s = (datetime.now(UTC) - record.started_at).total_seconds()
        patience_s = max(MUTE_S, start.deadline_s - age_s)
        try:
            await_record(replace(start, deadline_s=patience_s), record)
        except ServiceError:
            if start.cancelled.is_set():
                raise
            # It lives but does not answer: two on the same data would be worse.
            start.say(f"The {label(record.name)} does not answer; restarting it.")
            stop(record.identity, grace_s=MUTE_S)
        else:
            return True
    forget_record(start.home, record.name)
    return False


def _say_started(start: Start, record: ServiceRecord) -> None:
    where = f" at {record.url.removesuffix('/api')}" if record.url else ""
    start.say(f"Started the {label(record.name)}{where} (log: {record.log_path})")


def _all_well(start: Start, records: dict[Name, ServiceRecord], names: list[Name]) -> bool:
    return all(
        (found := records.get(name)) is not None and start.gpus.fits(found) and alive(found)
        for name in names
    )


def _prepared(start: Start, external: External, level: Preparation) -> bool:
    url = external.prefect_url or recorded_url(load_records(start.home), "prefect")
    return level == "none" or is_prepared(start, key=_key(external), level=level, url=url)


def _key(external: External) -> str:
    # imagemill's own server keeps its objects when it moves to another port.
    return external.prefect_url or "own"
