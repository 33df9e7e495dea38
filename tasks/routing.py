"""A text becomes a prompt, in a task that is retried while nobody answered."""

from typing import Any

from prefect import task

from imagemill.style_router.desk import desk_of
from tasks.assets import STEP


@task(name="route-text", **STEP)
async def route_words(run_id: str) -> dict[str, Any]:
    """Route the text of a run; returns the prompt and how it was found.

    Raises:
        ImagemillError: carries whether another attempt may help.
    """
    routed = await desk_of(run_id).route()
    return routed.model_dump(mode="json")
