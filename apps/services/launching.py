"""One way to start a service: leftovers away, spawn, record, wait until it answers."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apps.services.gpus import GpuPlan
from apps.services.ports import PortPlan, choose_port, is_free, remember_port
from apps.services.processes import Progress, Say, find, log_tail, marker, spawn, stop, strays
from apps.services.records import Name, ServiceRecord, alive, forget_record, label, save_record
from apps.services.settings import inherited_environment
from blocks.settings import Settings
from imagemill.errors import ServiceError

PROJECT_DIR = Path(__file__).resolve().parents[2]


class Died(ServiceError):
    """A service ended while it was being started; the message holds its last log lines."""


def quiet(_name: str, _state: str) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Start:
    """What every start of a service needs to know.

    Attributes:
        settings: Where home is, whose object store is used.
        say: Told once per service what happened to it.
        progress: Told often what a service in the making does; called from several threads.
        ports: Which ports, and what to do when one is taken.
        cancelled: Set it to end all waiting.
        deadline_s: How long one service may take until it answers.
        gpus: Who works on which GPU; nobody unless `up --gpu` asked for it.
        project_dir: The folder with prefect.yaml and the packages, where the worker runs.
    """

    settings: Settings
    say: Say
    progress: Progress = quiet
    ports: PortPlan = field(default_factory=lambda: PortPlan(any_port=True))
    cancelled: threading.Event = field(default_factory=threading.Event)
    deadline_s: float = 120.0
    gpus: GpuPlan = field(default_factory=GpuPlan)
    project_dir: Path = PROJECT_DIR

    @property
    def home(self) -> Path:
        """Home of imagemill."""
        return self.settings.home.absolute()

    def log_path(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.home / "logs" / f"{name}.log"

    def environment(self, name: str) -> dict[str, str]:
        """Return what any of our processes starts with."""
        inherited = inherited_environment()
        paths = [str(self.project_dir), inherited.get("PYTHONPATH", "")]
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "NO_COLOR": "1",
            "IMAGEMILL_HOME": str(self.home),
            **marker(name, self.home),
        }


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start one service.

    Attributes:
        command: Its command line.
        env: Its whole environment.
        cwd: Its working folder.
        url: Where it will be; "" when it listens nowhere.
        health_url: What answers below 500 when it is well.
        ready: Replaces "is alive and answers" as the sign that it is up.
        extras: What its record keeps besides.
    """

    command: Sequence[str]
    env: dict[str, str]
    cwd: Path
    url: str = ""
    health_url: str = ""
    ready: Callable[[], bool] | None = None
    extras: dict[str, str] = field(default_factory=dict)


def clear_leftovers(start: Start, name: Name) -> None:
    """End processes of a service that nobody recorded: two on the same data would be worse."""
    for leftover in strays(start.home, name):
        stop(leftover)


def launch(start: Start, name: Name, recipe: Recipe) -> ServiceRecord:
    """Start one service and wait for it. It is recorded at once, so that nobody starts a second.

    Raises:
        ServiceError: It could not be started; nothing of it is left running.
    """
    log_path = start.log_path(name)
    identity = spawn(recipe.command, env=recipe.env, cwd=recipe.cwd, log_path=log_path)
    record = ServiceRecord(
        name, recipe.url, identity, log_path, recipe.health_url, extras=recipe.extras
    )
    save_record(start.home, record)
    try:
        await_record(start, record, ready=recipe.ready)
    except BaseException:
        stop(identity, grace_s=3)
        forget_record(start.home, name)
        raise
    return record


def await_record(
    start: Start, record: ServiceRecord, *, ready: Callable[[], bool] | None = None
) -> None:
    """Wait until a recorded service is up; `start.progress` is told a few times a second.

    Raises:
        Died: It ended; the message shows its last log lines.
        ServiceError: It did not answer in time, or the wait was cancelled.
    """
    name, log_path, began = record.name, record.log_path, time.monotonic()
    while not (ready() if ready else alive(record)):
        elapsed_s = time.monotonic() - began
        if find(record.identity) is None:
            raise Died(
                f"The {label(name)} ended while starting. Its last lines ({log_path}):\n"
                f"{log_tail(log_path)}\n",
                remedy="Fix what it says, then try again.",
            )
        if start.cancelled.is_set():
            raise ServiceError(f"Starting the {label(name)} was interrupted.")
        if elapsed_s > start.deadline_s:
            raise ServiceError(
                f"The {label(name)} did not answer within {start.deadline_s:.0f} s. "
                f"Its last lines ({log_path}):\n{log_tail(log_path)}\n",
                remedy="Try again when the machine is less busy, or read the log.",
            )
        start.progress(name, f"{elapsed_s:.0f} s")
        start.cancelled.wait(0.1 if elapsed_s < 5 else 0.4)


def launch_on_port(start: Start, name: Name, recipe_for: Callable[[int], Recipe]) -> ServiceRecord:
    """Start a service on a chosen port; when somebody is faster on a free one, choose again.

    Raises:
        ServiceError: The port is taken, or the service could not be started.
    """
    clear_leftovers(start, name)
    attempts = 3 if start.ports.any_port else 1
    for attempt in range(1, attempts + 1):
        port = choose_port(name, start.ports, home=start.home, say=start.say)
        try:
            record = launch(start, name, recipe_for(port))
        except Died:
            if attempt == attempts or is_free(port):
                raise
            continue
        remember_port(name, port, home=start.home)
        return record
    raise ServiceError(f"No free port for {name}.")  # pragma: no cover - the loop ends above
