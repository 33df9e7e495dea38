"""Speaking to the Prefect server that runs, without starting one: for commands that only look."""

from collections.abc import Iterator
from contextlib import contextmanager

from apps.services.lifecycle import status
from blocks.settings import Settings


def running_prefect(settings: Settings) -> str:
    """Return the API address of the Prefect server in use, or "" when none is running."""
    rows = [row for row in status(settings) if row.name == "prefect"]
    return next((row.url for row in rows if row.state in {"running", "external"}), "")


@contextmanager
def speaking_to(url: str) -> Iterator[None]:
    """Let Prefect's client in this process speak to `url` while the body runs; "" is nobody."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if not url:
        yield
        return
    with temporary_settings({PREFECT_API_URL: url}):
        yield
