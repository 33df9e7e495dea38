"""Price a batch without sending anything."""

from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from blocks.workshop import priced
from imagemill.cost import Estimate, estimate_in_words
from imagemill.request import BatchRequest


@task(name="price", cache_policy=NO_CACHE, persist_result=False)
async def price(batch: BatchRequest, run_id: str) -> dict[str, Any]:
    """Return the estimate as JSON, and show it in the UI."""
    found: Estimate = await priced(batch)
    lines = estimate_in_words(found, max_cost_usd=batch.max_cost_usd)
    await acreate_markdown_artifact(
        markdown="# Dry run: nothing was sent\n\n" + "\n\n".join(lines) + "\n",
        key=f"estimate-{run_id}",
        description=lines[0],
    )
    return {"dry_run": True, "run_id": run_id, "estimate": found.model_dump(mode="json")}
