"""The local Prefect server, with the settings measured to be right for one machine."""

import sys

from apps.services.launching import Recipe, Start, launch_on_port
from apps.services.records import ServiceRecord

# Measured on Prefect 3.8.8, SQLite, two cores (docs/adr/0003): 200 task runs are on record 1.4 s
# after their flow ended instead of 5.5 s; a slot freed by one run is taken by the next within 3.5 s
# instead of 27 s; slots of a killed holder come back after a server restart, not never.
MEASURED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
    # Ten thousand prompts are the parameters of one run; Prefect's default is half a megabyte.
    "PREFECT_SERVER_API_MAX_PARAMETER_SIZE": "33554432",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
# They would point the server at another one, or name a profile its own home does not have.
NOT_INHERITED = {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"}


def start_prefect(start: Start) -> ServiceRecord:
    """Start the Prefect server on loopback and wait until it answers (7 s; 16 s in a fresh home).

    Raises:
        ServiceError: The port is taken, the server died (with its last log lines) or is too slow.
    """
    home = start.home / "prefect"
    # Prefect does not create it; SQLite then says "unable to open database file".
    home.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in start.environment("prefect").items() if k not in NOT_INHERITED}

    def recipe(port: int) -> Recipe:
        url = f"http://127.0.0.1:{port}/api"
        command = [sys.executable, "-m", "prefect", "server", "start"]
        return Recipe(
            command=[*command, "--host", "127.0.0.1", "--port", str(port)],
            # Settings somebody chose win over the measured ones; address and home are ours.
            env={
                **MEASURED,
                **inherited,
                "PREFECT_HOME": str(home),
                "PREFECT_SERVER_API_HOST": "127.0.0.1",
                # Without it the UI tells the browser to call port 4200, whatever --port says.
                "PREFECT_SERVER_API_PORT": str(port),
            },
            cwd=home,
            url=url,
            health_url=f"{url}/health",
        )

    return launch_on_port(start, "prefect", recipe)
