"""The processes that run what was queued: Prefect workers of the pools `mill` and `gpu`."""

import platform
import sys

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


def _recipe(
    start: Start,
    name: Name,
    arguments: list[str],
    *,
    environment: dict[str, str],
    extras: dict[str, str] | None = None,
) -> Recipe:
    log_path = start.log_path(name)

    def ready() -> bool:
        try:
            return "started!" in log_path.read_text("utf-8", errors="replace")
        except OSError:
            return False

    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
    return Recipe(
        command=[*command, *arguments],
        env={**WORKER_SETTINGS, **start.environment(name), **environment},
        cwd=start.project_dir,
        ready=ready,
        extras=extras or {},
    )


def _host() -> str:
    return platform.node().replace("/", "-").replace("%", "-") or "local"
