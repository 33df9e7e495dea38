"""The processes that run what was queued: workers of the pools `mill` and `gpu`, the warm lane."""

import platform
import sys
from collections.abc import Callable

from apps.services.gpus import Gpu
from apps.services.launching import Recipe, Start, clear_leftovers, launch
from apps.services.records import Name, ServiceRecord, gpu_worker

# One second instead of ten: a run that is kicked off starts within seconds.
WORKER_SETTINGS = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def start_worker(start: Start, environment: dict[str, str]) -> ServiceRecord:
    """Start the worker in the project's folder and wait until it listens to its queues.

    Args:
        start: Home, project folder, deadlines.
        environment: `Services.environment()`: which Prefect server, which gateway.

    Raises:
        ServiceError: It died or did not come up.
    """
    arguments = ["-p", "mill", "--name", f"imagemill {_host()}"]
    return launch(start, "worker", _recipe(start, "worker", arguments, environment=environment))


def start_gpu_worker(start: Start, environment: dict[str, str], gpu: Gpu) -> ServiceRecord:
    """Start a worker that sees one GPU and draws one run at a time on it, and wait as above.

    Raises:
        ServiceError: It died or did not come up.
    """
    name = gpu_worker(gpu.number)
    # One left over would draw on the same GPU.
    clear_leftovers(start, name)
    called = f"imagemill gpu {gpu.number} {_host()}"
    arguments = ["-p", "gpu", "--limit", "1", "--name", called]
    more = {**environment, **gpu.environment()}
    recipe = _recipe(start, name, arguments, environment=more, extras=gpu.extras())
    return launch(start, name, recipe)


def start_warm_lane(start: Start, environment: dict[str, str], gpu: Gpu) -> ServiceRecord:
    """Start the process that draws single images with an engine that stays, and wait as above.

    Raises:
        ServiceError: It died or did not come up.
    """
    clear_leftovers(start, "warm_lane")
    # What says that it listens is a line of this level.
    more = {**environment, **gpu.environment(), "PREFECT_LOGGING_LEVEL": "INFO"}
    recipe = Recipe(
        command=[sys.executable, "-m", "apps.warm_lane"],
        env={**WORKER_SETTINGS, **start.environment("warm_lane"), **more},
        cwd=start.project_dir,
        ready=_said(start, "warm_lane", "Subscribing to runs"),
        extras=gpu.extras(),
    )
    return launch(start, "warm_lane", recipe)


def _recipe(
    start: Start,
    name: Name,
    arguments: list[str],
    *,
    environment: dict[str, str],
    extras: dict[str, str] | None = None,
) -> Recipe:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
    return Recipe(
        command=[*command, *arguments],
        env={**WORKER_SETTINGS, **start.environment(name), **environment},
        cwd=start.project_dir,
        ready=_said(start, name, "started!"),
        extras=extras or {},
    )


def _said(start: Start, name: Name, words: str) -> Callable[[], bool]:
    """Return whether a service has come so far that its log says so."""
    log_path = start.log_path(name)

    def ready() -> bool:
        try:
            return words in log_path.read_text("utf-8", errors="replace")
        except OSError:
            return False

    return ready


def _host() -> str:
    return platform.node().replace("/", "-").replace("%", "-") or "local"
