"""The loop's steps as tasks, and its assets side by side. Live parts are found by run id.

Run names hold the asset's name, which the caller gave as a file name, never words of a prompt.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from imagemill.asset.handing_out import deliver, undelivered
from imagemill.asset.loop import improved
from imagemill.asset.publishing import AssetsResult, counted, publish_assets
from imagemill.asset.result import AssetResult
from imagemill.asset.studio import Studio, studio_of
from imagemill.errors import ImagemillError, LedgerError, ServiceError, StoreError
from imagemill.request import ImageResult
from tasks.images import FIRST_DELAY_S, RETRIES, worth_retrying

STEP: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(backoff_factor=FIRST_DELAY_S),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""As for an image of a batch: only errors that say so are retried."""


def _step(verb: str) -> Callable[..., Any]:
    return task(name=f"{verb}-asset", task_run_name=f"{verb}-{{asset}}-{{iteration}}", **STEP)


@_step("draw")
async def draw_asset(run_id: str, number: int, iteration: int, asset: str) -> None:
    """Make the picture of one iteration, or find that it is paid."""
    context = TaskRunContext.get()
    attempt = context.task_run.run_count if context else 1
    await studio_of(run_id).draw(number, iteration, attempt=attempt)


@_step("cut")
async def cut_asset(run_id: str, number: int, iteration: int, asset: str) -> None:
    """Cut it out, snap pixel art, fit the exact size."""
    await studio_of(run_id).cut(number, iteration)


@_step("check")
async def check_asset(run_id: str, number: int, iteration: int, asset: str) -> list[str]:
    """Run the technical checks; returns the names of those that failed."""
    studio = studio_of(run_id)
    await studio.check(number, iteration)
    return [check.name for check in studio.benches[number].turns[iteration].failed_checks]


@_step("judge")
async def judge_asset(run_id: str, number: int, iteration: int, asset: str, *, again: int) -> float:
    """Have it judged; returns the score.

    Raises:
        JudgeFailed: what came is no judgement.
    """
    found = await studio_of(run_id).look(number, iteration, again=again)
    return found.overall_score


@_step("refine")
async def refine_asset(
    run_id: str, number: int, iteration: int, asset: str, *, by_rules: bool
) -> None:
    """Word the next iteration from what was wrong with this one."""
    await studio_of(run_id).refine(number, iteration, by_rules=by_rules)


@task(name="deliver-asset", task_run_name="deliver-{asset}", **STEP)
async def deliver_asset(run_id: str, number: int, asset: str) -> AssetResult:
    """Write the files of one asset and upload them; returns its result."""
    return await deliver(studio_of(run_id), number)


class TaskSteps:
    """The steps of one asset, each a task run. See `imagemill.asset.loop.Steps`."""

    def __init__(self, studio: Studio, number: int) -> None:
        self._studio = studio
        self._number = number
        self._place = (studio.shop.run.id, number)
        self._asset = studio.benches[number].request.name

    async def draw(self, iteration: int) -> None:
        """Make the picture of this iteration."""
        await _run(draw_asset, *self._place, iteration, self._asset)

    async def cut(self, iteration: int) -> None:
        """Cut it out and fit it."""
        await _run(cut_asset, *self._place, iteration, self._asset)

    async def check(self, iteration: int) -> None:
        """Measure it."""
        await _run(check_asset, *self._place, iteration, self._asset)

    async def judge(self, iteration: int, *, again: int) -> float:
        """Return its score."""
        return float(await _run(judge_asset, *self._place, iteration, self._asset, again=again))

    async def refine(self, iteration: int, *, by_rules: bool) -> None:
        """Word the next one."""
        await _run(refine_asset, *self._place, iteration, self._asset, by_rules=by_rules)

    def price_usd(self) -> Decimal:
        """Return what an iteration costs."""
        return self._studio.price_usd(self._number)


async def _run(step: Any, *place: Any, **more: Any) -> Any:  # noqa: ANN401 - Prefect's types
    """Run a task to its end, retries included; what it raises is of the house's family.

    Raises:
        ImagemillError: what the step could not do.
    """
    state: State[Any] = await step(*place, **more, return_state=True)
    if state.is_completed():
        return await state.aresult()
    error = await state.aresult(raise_on_failure=False)
    if isinstance(error, ImagemillError):
        raise error
    kind = type(error).__name__
    raise ServiceError(f"Unexpected {kind} in a step.", remedy="See the log of this run.")


async def make_assets(studio: Studio) -> list[AssetResult]:
    """Make all assets of a run, at most `max_concurrent` at a time; a failure is one of the results.

    Raises:
        LedgerError: the ledger took nothing any more; what was on the wire came in before.
    """
    places = asyncio.Semaphore(studio.order.max_concurrent)
    results: dict[int, AssetResult] = {}
    broken: list[LedgerError] = []

    async def one(number: int) -> None:
        async with places:
            try:
                results[number] = await _made(studio, number)
            except LedgerError as error:
                # Raised here it would tear off what the others have on the wire.
                studio.shop.stopped = studio.shop.stopped or error
                broken.append(error)

    async with asyncio.TaskGroup() as group:
        for number in range(len(studio.benches)):
            group.create_task(one(number))
    if broken:
        raise broken[0]
    return [result for _, result in sorted(results.items())]


async def _made(studio: Studio, number: int) -> AssetResult:
    """Run the loop of one asset to its end and deliver what came of it."""
    bench = studio.benches[number]
    bench.ending = await improved(TaskSteps(studio, number), studio.terms)
    return await closed_asset(studio, number, bench.ending.error)


async def closed_asset(studio: Studio, number: int, error: ImagemillError | None) -> AssetResult:
    """Deliver what came of one asset and count it; `error` is what its making ended with."""
    shop, bench = studio.shop, studio.benches[number]
    if error:
        await studio.note_failure(number, error)
    result = await _delivered(studio, number)
    progress = shop.count(_counted(number, result))
    get_run_logger().info(
        "%d/%d assets done: %s/%s %s (%s)", progress.completed, progress.total,
        bench.request.category, bench.request.name, _words(result),
        bench.ending.why if bench.ending else "not made",
    )  # fmt: skip
    return result


async def _delivered(studio: Studio, number: int) -> AssetResult:
    """Deliver one asset; a folder or store that does not take it fails this one, not the others."""
    request = studio.benches[number].request
    try:
        result: AssetResult = await _run(deliver_asset, studio.shop.run.id, number, request.name)
    except LedgerError:
        raise
    except ImagemillError as error:
        return undelivered(studio, number, error)
    return result


def _counted(number: int, result: AssetResult) -> ImageResult:
    made = result.status == "success"
    return ImageResult(
        index=number, prompt=result.name or "", success=made, status=result.state or "failed",
        key="", reused=result.state == "reused",
    )  # fmt: skip


def _words(result: AssetResult) -> str:
    if result.status == "success" and result.metadata:
        turns = result.metadata.total_iterations
        return f"scored {result.metadata.final_score:g} in {turns} iteration{'s'[: turns != 1]}"
    return result.state or "failed"


@task(
    name="publish-assets",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def publish_run_of_assets(run_id: str, results: list[AssetResult]) -> AssetsResult:
    """Write contact sheet and record; returns the result.

    A store that stays away takes the pages from it, never the result itself.
    """
    studio, context = studio_of(run_id), TaskRunContext.get()
    try:
        return await publish_assets(studio, results)
    except StoreError as error:
        tried = context.task_run.run_count if context else RETRIES + 1
        if error.retryable and tried <= RETRIES:
            raise
        get_run_logger().warning("The run's pages are not in the store: %s", error)
    whole = await counted(studio, results)
    nowhere = {"contact_sheet_url": None, "manifest_url": None}
    return whole.model_copy(
        update={"batch": whole.batch.model_copy(update=nowhere), "record_url": None}
    )
