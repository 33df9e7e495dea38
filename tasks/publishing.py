"""Publish what a run made."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from imagemill.publishing import publish_run
from imagemill.request import BatchResult
from imagemill.workshop import workshop_of
from tasks.images import worth_retrying


@task(
    name="publish",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def publish(run_id: str) -> BatchResult:
    """Write contact sheet, gallery and manifest; returns the result."""
    return await publish_run(workshop_of(run_id))
