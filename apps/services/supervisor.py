"""`imagemill up`: keep the services running in the foreground, or start them and leave."""

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from apps.services.addresses import Services, find_external
from apps.services.ensure import WANTED, Preparation, ensure, services_lock
from apps.services.gpus import GpuPlan, running_plan
from apps.services.launching import Start, quiet
from apps.services.lifecycle import stop_all
from apps.services.ports import PortPlan
from apps.services.processes import Progress, Say, find, log_tail
from apps.services.records import Name, ServiceRecord, in_order, label, load_records
from apps.services.supervisor_record import find_supervisor, forget_supervisor, record_supervisor
from blocks.settings import Settings
from imagemill.errors import ServiceError

ALL: frozenset[Name] = WANTED | {"worker"}
# A service that dies more often than this within ten minutes has a reason that a restart misses.
RESTARTS_MAX = 4
RESTART_WINDOW_S = 600.0
BACKOFF_S = (1.0, 2.0, 5.0, 10.0)
LOOK_EVERY_S = 1.0


def up_detached(
    settings: Settings,
    *,
    say: Say,
    progress: Progress = quiet,
    ports: PortPlan | None = None,
    preparation: Preparation = "deployments",
    gpus: GpuPlan | None = None,
) -> Services:
    """Start everything, deploy, and return; the services keep running until `down`.

    Args:
        settings: Where home is; whose object store is used.
        say: Told in one line each what was started.
        progress: Told a few times a second (service, "3 s"), from several threads.
        ports: Which ports; refused when taken, unless it says otherwise.
        preparation: "deployments" deploys prefect.yaml; "objects" leaves that out.
        gpus: Who works on which GPU, besides everything else.

    Raises:
        ServiceError: A port is taken, or a service cannot be started.
    """
    start = Start(
        settings, say, progress=progress, ports=ports or PortPlan(), gpus=gpus or GpuPlan()
    )
    return ensure(start, want=_wanted(start), preparation=preparation)


def _wanted(start: Start) -> frozenset[Name]:
    return ALL | start.gpus.by_name().keys()


def up(  # noqa: PLR0913 - each has a default that is right for most
    settings: Settings,
    *,
    say: Say,
    progress: Progress = quiet,
    ports: PortPlan | None = None,
    preparation: Preparation = "deployments",
    on_ready: Callable[[Services], None] = lambda _services: None,
    gpus: GpuPlan | None = None,
) -> None:
    """Run everything until Ctrl-C, SIGTERM or `down`; then stop it all, users of a service first.

    Services that run already are taken over. One that dies is started again with growing pauses;
    one that keeps dying ends the whole.

    Args:
        settings: Where home is; whose object store is used.
        say: Told in one line each what happened.
        progress: Told a few times a second (service, "3 s"), from several threads.
        ports: Which ports; refused when taken, unless it says otherwise.
        preparation: "deployments" deploys prefect.yaml; "objects" leaves that out.
        on_ready: Called once when all is up.
        gpus: Who works on which GPU, besides everything else.

    Raises:
        ServiceError: Another `up` runs, a service cannot be started, or one keeps dying.
    """
    start = Start(
        settings, say, progress=progress, ports=ports or PortPlan(), gpus=gpus or GpuPlan()
    )
    with _stop_signals(start.cancelled):
        _claim(start)
        try:
            on_ready(ensure(start, want=_wanted(start), preparation=preparation))
            Watch(start, preparation).until_cancelled()
        except ServiceError:
            if not start.cancelled.is_set():
                raise
        finally:
            say("Stopping")
            # What was cancelled is the waiting for starts, not the waiting for this lock.
            stop_all(replace(start, cancelled=threading.Event()))
            forget_supervisor(start.home)


def _claim(start: Start) -> None:
    with services_lock(start):
        if (other := find_supervisor(start.home)) is not None:
            raise ServiceError(
                f"imagemill up runs already, as process {other.pid}.",
                remedy="See `imagemill status`; stop it with `imagemill down`.",
            )
        record_supervisor(start.home)


@contextmanager
def _stop_signals(stopping: threading.Event) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into an event, in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watch:
    """Looks every second whether the services live, and restarts those that died."""

    def __init__(self, start: Start, preparation: Preparation) -> None:
        self._start = replace(start, ports=replace(start.ports, any_port=True))
        self._preparation = preparation
        self._deaths: defaultdict[Name, list[float]] = defaultdict(list)

    def until_cancelled(self) -> None:
        """Return when the start was cancelled (Ctrl-C, SIGTERM).

        Raises:
            ServiceError: A service keeps dying; the message shows its last log lines.
        """
        while not self._start.cancelled.wait(LOOK_EVERY_S):
            for name, record in self._dead():
                self._restart(name, record)

    def _dead(self) -> list[tuple[Name, ServiceRecord | None]]:
        external = find_external(self._start)
        records = load_records(self._start.home)
        # An `up --gpu` of another terminal may have added workers: they are watched from now on.
        gpus = running_plan(records).joined(self._start.gpus)
        self._start = replace(self._start, gpus=gpus)
        return [
            (name, records.get(name))
            for name in in_order(_wanted(self._start))
            if not external.covers(name)
            and ((record := records.get(name)) is None or find(record.identity) is None)
        ]

    def _restart(self, name: Name, record: ServiceRecord | None) -> None:
        now = time.monotonic()
        recent = [t for t in self._deaths[name] if now - t < RESTART_WINDOW_S]
        self._deaths[name] = [*recent, now]
        tail = log_tail(record.log_path, lines=5) if record else ""
        if len(recent) >= RESTARTS_MAX:
            raise ServiceError(
                f"The {label(name)} ended {len(recent) + 1} times in {RESTART_WINDOW_S / 60:.0f} "
                f"minutes. Its last lines:\n{tail}\n",
                remedy="Fix what it says, then start again.",
            )
        pause_s = BACKOFF_S[min(len(recent), len(BACKOFF_S) - 1)]
        self._start.say(
            f"The {label(name)} ended; starting it again in {pause_s:.0f} s.\n{tail}".rstrip()
        )
        if not self._start.cancelled.wait(pause_s):
            ensure(self._start, want=_wanted(self._start), preparation=self._preparation)
