"""The process that runs what was queued: a Prefect worker of the pool `mill`."""

import platform
import sys

from apps.services.launching import Recipe, Start, launch
from apps.services.records import ServiceRecord

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
    log_path = start.log_path("worker")
    host = platform.node().replace("/", "-").replace("%", "-") or "local"
    arguments = ["-p", "mill", "--type", "process", "--name", f"imagemill {host}"]

    def ready() -> bool:
        try:
            return "started!" in log_path.read_text("utf-8", errors="replace")
        except OSError:
            return False

    recipe = Recipe(
        command=[sys.executable, "-m", "prefect", "worker", "start", *arguments],
        env={**WORKER_SETTINGS, **start.environment("worker"), **environment},
        cwd=start.project_dir,
        ready=ready,
    )
    return launch(start, "worker", recipe)
