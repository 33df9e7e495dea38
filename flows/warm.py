"""The warm lane: single images by an engine that keeps its checkpoint between them.

A flow run on the pool `gpu` is a process of its own and pays for torch and a checkpoint every time; a
task worker (`serve`) runs many tasks in one process. It is handed a run's id, never a prompt: Prefect
leaves the parameters of background tasks on disk.
"""

import asyncio

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.task_worker import serve as serve_tasks

from blocks.queueing import (
    TAKEN_WITHIN_S,
    could_not_begin,
    queue_batch,
    queued_batch,
    result_when_done,
)
from flows.batch import made_here
from imagemill.errors import ImagemillError, ProviderUnavailable
from imagemill.publishing import run_state
from imagemill.request import BatchRequest, BatchResult
from tasks.gpu import leave_if_gpu_is_lost

AT_ONCE = 4
"""Runs that are prepared and stored beside the one that is drawn; the GPU itself takes one call."""

UNSEEN_WITHIN_S = 3.0
"""How long a run waits for a lane that the server does not see."""

TRIES = 2
"""A lane that died in the middle is asked once more: what it had paid or drawn is found again."""


@task(name="draw-warm", task_run_name="warm-{run_id}", cache_policy=NO_CACHE, persist_result=False)
async def draw_warm(run_id: str) -> str:
    """Make the run that waits under this id; returns the state it ended in."""
    try:
        return run_state(await made_here(*await queued_batch(run_id)))
    except ImagemillError as refused:
        await could_not_begin(run_id, refused)
        return "failed"
    finally:
        leave_if_gpu_is_lost()


async def asked_warm(batch: BatchRequest) -> BatchResult:
    """Have a batch made by the warm lane, and wait for it.

    Raises:
        ImagemillError: the batch cannot be made as asked.
        ProviderUnavailable: no lane took it, or it died twice.
    """
    run_id = await queue_batch(batch)
    within_s = TAKEN_WITHIN_S if await lane_is_seen() else UNSEEN_WITHIN_S
    for _ in range(TRIES):
        await asyncio.to_thread(draw_warm.delay, run_id)
        try:
            result = await result_when_done(run_id, within_s=within_s)
        except ProviderUnavailable as untaken:
            await could_not_begin(run_id, untaken)  # a lane that comes later leaves it alone
            raise
        if result is not None:
            return result
    raise ProviderUnavailable(
        f"The warm lane died twice while it made run {run_id}.",
        remedy="Look at its log (`imagemill status`), then `imagemill resume`.",
    )


async def lane_is_seen() -> bool:
    """Whether the Prefect server sees a lane. A second server may see one that this one does not."""
    async with get_client() as client:
        asked = {"task_worker_filter": {"task_keys": [draw_warm.task_key]}}
        answer = await client._client.post("/task_workers/filter", json=asked)  # noqa: SLF001 - Prefect's client has no method for it
        return bool(answer.json())


def serve() -> None:
    """Serve the warm lane in this process until it is stopped."""
    serve_tasks(draw_warm, limit=AT_ONCE)
