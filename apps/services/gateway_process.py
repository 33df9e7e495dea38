"""The re-signing gateway as a process: links in the Prefect UI stay good while it runs."""

import sys

from apps.services.launching import Recipe, Start, launch_on_port
from apps.services.records import ServiceRecord


def start_gateway(start: Start, environment: dict[str, str]) -> ServiceRecord:
    """Start the gateway on loopback and wait until it answers (3 s).

    Args:
        start: Home, ports, deadlines.
        environment: `Services.environment()`: the Prefect server that may know a saved store.

    Raises:
        ServiceError: The port is taken, or it died or did not come up.
    """
    app = ["--factory", "apps.gateway:default_app", "--host", "127.0.0.1", "--no-access-log"]

    def recipe(port: int) -> Recipe:
        url = f"http://127.0.0.1:{port}"
        return Recipe(
            command=[sys.executable, "-m", "uvicorn", *app, "--port", str(port)],
            env={**start.environment("gateway"), **environment},
            cwd=start.home / "logs",
            url=url,
            health_url=f"{url}/healthz",
        )

    return launch_on_port(start, "gateway", recipe)
