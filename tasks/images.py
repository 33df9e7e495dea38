"""One task run an image, gathered under a window. Live parts are found by run id."""

import asyncio
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from imagemill.completing import asking_order
from imagemill.errors import ImagemillError, LedgerError
from imagemill.making import make_image
from imagemill.request import ImageResult
from imagemill.results import failure_of
from imagemill.routing import MOST_ATTEMPTS
from imagemill.workshop import UPLOADS_AT_ONCE, Workshop, workshop_of

RETRIES = MOST_ATTEMPTS - 1
FIRST_DELAY_S = 1
"""Delays of 1, 2, 4 and 8 s, each stretched by up to half at random."""


def worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:  # noqa: ANN401
    """Ask the error itself. `state.data`, because `state.result()` is a coroutine in async tasks."""
    error = state.data
    return isinstance(error, ImagemillError) and error.retryable


@task(
    name="draw-image",
    task_run_name="image-{number:04}-{prompt_digest}",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=FIRST_DELAY_S),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def draw_image(run_id: str, number: int, prompt_digest: str) -> ImageResult:
    """Make image `number` (1 is the first) of a run; returns its small result.

    Raises:
        ImagemillError: carries whether another attempt may help and what this one cost.
    """
    context = TaskRunContext.get()
    attempt = context.task_run.run_count if context else 1
    shop = workshop_of(run_id)
    shop.attempts[number - 1] = attempt
    return await make_image(shop, number - 1, attempt=attempt)


async def draw_images(shop: Workshop) -> None:
    """Make all images of a run, in the order its provider likes. Results are in the ledger.

    A failure is one of them.

    The window lets a few more tasks start than may be on the wire, so that one image's upload
    overlaps the next one's request; these start when the first request is out.

    Raises:
        LedgerError: the ledger took no result any more; what was on the wire came in before.
    """
    window = asyncio.Semaphore(shop.places)
    widening = asyncio.create_task(_widened(shop, window))
    log = get_run_logger()
    broken: list[LedgerError] = []

    async def one(index: int) -> None:
        try:
            async with window:
                result = await _settled(shop, index)
        except LedgerError as error:
            # Raised here it would tear off what the others have on the wire.
            shop.stopped = shop.stopped or error
            broken.append(error)
            return
        progress = shop.count(result)
        log.info(
            "%d/%d images done: image %d %s%s", progress.completed, progress.total, index + 1,
            result.status, f" ({result.error_class})" if result.error_class else "",
        )  # fmt: skip

    try:
        async with asyncio.TaskGroup() as group:
            for index in asking_order(shop.provider, shop.requests):
                group.create_task(one(index))
    finally:
        widening.cancel()
    if broken:
        raise broken[0]


async def _widened(shop: Workshop, window: asyncio.Semaphore) -> None:
    await shop.under_way.wait()
    for _ in range(shop.places + UPLOADS_AT_ONCE):
        window.release()


async def _settled(shop: Workshop, index: int) -> ImageResult:
    """Run one image's task to its end and return what happened, never raise for the image."""
    if index in shop.carried:
        result = shop.carried[index]
    elif shop.stopped:
        try:  # nothing is sent any more, so this is no attempt; what is paid is delivered
            return await make_image(shop, index)
        except ImagemillError as why:
            result = failure_of(shop, index, why, attempts=0)
    else:
        digest = shop.requests[index].prompt_digest
        state = await _task_run(shop.run.id, index + 1, digest)
        if state.is_completed():
            return await state.aresult()
        error = await state.aresult(raise_on_failure=False)
        problem = error if isinstance(error, BaseException) else None
        result = failure_of(shop, index, problem, attempts=shop.attempts.get(index, 0))
    await shop.ledger.keep_item(shop.run.id, result)
    return result


async def _task_run(run_id: str, number: int, digest: str) -> State[ImageResult]:
    """Run the task and return its last state; Prefect's types know no async `return_state`."""
    run: Any = draw_image
    state: State[ImageResult] = await run(run_id, number, digest, return_state=True)
    return state
