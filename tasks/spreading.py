"""A batch on several workers: each share is a flow run of its own, watched through the ledger."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from blocks.queueing import could_not_begin, queue_batch
from imagemill.errors import ImagemillError, ProviderUnavailable, RunStopped
from imagemill.following import check_begun
from imagemill.ledger.runs import is_gone
from imagemill.ledger.values import CUT_OFF, RunRow
from imagemill.spreading import give_up_missing, part_of, place_in_whole, take_over
from imagemill.workshop import Workshop, workshop_of

GPU_POOL = "gpu"
SHARE = "queued-run/gpu"
TRIES = 4
"""How often a share is started: a worker that dies takes its share with it, another one goes on."""

CLAIMED = timedelta(seconds=120)
"""How long a claimed run may take to begin; a process starts within 6 to 18 s (architecture.md, 1)."""

LOOK_S = 1.0
"""How often a share's images are read from the ledger; the bar moves as often."""


async def gpu_workers() -> int:
    """Return how many workers of the pool `gpu` are online, 1 or more: a share waits for one."""
    async with get_client() as client:
        try:
            found = await client.read_workers_for_work_pool(GPU_POOL)
        except ObjectNotFound:
            found = []
    online = sum(worker.status == WorkerStatus.ONLINE for worker in found)
    if not online:
        get_run_logger().warning("No worker of the pool gpu is online yet: imagemill up --gpu")
    return max(1, online)


async def draw_shares(shop: Workshop, shares: Sequence[Sequence[int]]) -> None:
    """Have each share of the prompts drawn by a worker; what none of them brings is listed."""
    log, run = get_run_logger(), cast("Any", draw_share)  # Prefect's types know no async state
    starting = [
        run(shop.run.id, number, list(prompts), return_state=True)
        for number, prompts in enumerate(shares, 1)
    ]
    states = await asyncio.gather(*starting)
    errors = [await state.aresult(raise_on_failure=False) for state in states]
    trouble = next((error for error in errors if isinstance(error, ImagemillError)), None)
    if trouble:
        log.warning("A share was given up: %s", trouble)
    await give_up_missing(shop, trouble)


@task(
    name="draw-share", task_run_name="share-{number}", cache_policy=NO_CACHE, persist_result=False
)
async def draw_share(run_id: str, number: int, prompts: list[int]) -> None:
    """Start a share on the pool and take its images over as they come, until all are there.

    The share is a run in the ledger under one id however often it is started: whoever takes it up
    after a worker died finds what was drawn.

    Raises:
        ImagemillError: it was refused where it was to be drawn.
        ProviderUnavailable: its worker died again and again.
    """
    shop, log = workshop_of(run_id), get_run_logger()
    share_id = await queue_batch(part_of(shop.batch, prompts))
    for attempt in range(1, TRIES + 1):
        starting: Any = run_deployment(
            SHARE, parameters={"run": share_id}, timeout=0,
            flow_run_name=f"share-{number}-of-{run_id[:8]}",
        )  # fmt: skip
        flow_run = await starting
        log.info("share %d: %d prompts, flow run %s", number, len(prompts), flow_run.id)
        if await _followed(shop, share_id, flow_run.id, prompts):
            await _left(shop, share_id)
            return
        await shop.ledger.end_run(share_id, "crashed", None)  # else its dead process is seen again
        log.warning("share %d: attempt %d ended early; it is started again", number, attempt)
    raise ProviderUnavailable(
        f"Share {number} was given up after {TRIES} workers died or refused it.",
        remedy="Look at the flow runs' logs; the same batch again goes on where it stopped.",
    )


async def _left(shop: Workshop, share_id: str) -> None:
    """End a share that was stopped before anybody took it: nobody will."""
    row = await shop.ledger.run(share_id)
    if row is not None and row.state == "queued":
        why = RunStopped("The batch was stopped before this share began.", remedy="Run it again.")
        await could_not_begin(share_id, why)


async def _followed(
    shop: Workshop, share_id: str, flow_run_id: UUID, prompts: Sequence[int]
) -> bool:
    """Take images over as they appear; tell whether the share came to an end of its own."""
    stopping = False
    while True:
        row = await shop.ledger.run(share_id)
        over = row is not None and row.ended_at is not None and row.state not in CUT_OFF
        for result in await shop.ledger.items(share_id):
            if result.success or over:
                await take_over(shop, place_in_whole(shop.batch, prompts, result.index), result)
        if over and row is not None:
            check_begun(row)  # refused on the worker: every image says why
        if over or (shop.stopped and row is not None and row.ended_at is not None):
            return True
        if shop.stopped and not stopping:
            stopping = True
            await _cancel(flow_run_id)
        if await _is_lost(shop, row, flow_run_id):
            return bool(shop.stopped)
        await asyncio.sleep(LOOK_S)


async def _is_lost(shop: Workshop, row: RunRow | None, flow_run_id: UUID) -> bool:
    """Whether nobody makes this share any more: its process is gone, or Prefect has ended it."""
    if row is not None and row.state == "running":
        return is_gone(row, now=shop.ledger.now())
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run_id)).state
    if state is None or not state.is_pending():
        return bool(state and state.is_final())
    # Claimed by a worker that did not get as far as a process: nothing else notices that.
    if datetime.now(UTC) - state.timestamp < CLAIMED:
        return False
    await _cancel(flow_run_id)
    return True


async def _cancel(flow_run_id: UUID) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(flow_run_id, Cancelling())
