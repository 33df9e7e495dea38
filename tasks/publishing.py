"""Publish what a run made."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from imagemill.errors import StoreError
from imagemill.publishing import publish_run, unpublished
from imagemill.request import BatchResult
from imagemill.workshop import workshop_of
from tasks.images import RETRIES, worth_retrying


@task(
    name="publish",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def publish(run_id: str) -> BatchResult:
    """Write contact sheet, gallery and manifest; returns the result.

    A store that stays away takes the pages' addresses from it, never the result itself.
    """
    shop, context = workshop_of(run_id), TaskRunContext.get()
    try:
        return await publish_run(shop)
    except StoreError as error:
        tried = context.task_run.run_count if context else RETRIES + 1
        if error.retryable and tried <= RETRIES:
            raise
        get_run_logger().warning("The run's pages are not in the store: %s", error)
    return await unpublished(shop)
