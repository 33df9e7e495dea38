"""What Prefect's UI shows of the GPU: memory, loads, swaps, and where the time went."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact
from prefect.artifacts import aupdate_progress_artifact as update

from imagemill.providers.base import LocalEngine
from imagemill.workshop import Workshop

LAST_WORDS_S = 2.0
"""How long a process that ends still talks to the server."""

REFRESH_S = 2.0
"""How often the step under way is shown: a call of 30 steps takes seconds."""


@asynccontextmanager
async def gpu_shown(shop: Workshop) -> AsyncIterator[None]:
    """Show what the engine of this process is at, and in the end what it did for the run."""
    engines = [each.provider for each in shop.routes if isinstance(each.provider, LocalEngine)]
    if not engines:
        yield
        return
    before = [engine.engine_table() for engine in engines]
    mirror = asyncio.create_task(_mirror(shop, engines[0]))
    try:
        yield
    finally:
        mirror.cancel()
        with suppress(asyncio.CancelledError):
            await mirror
        rows = [row for engine in engines for row in engine.engine_table()]
        earlier = [row for table in before for row in table]
        await _written(shop, rows, earlier)


async def _mirror(shop: Workshop, engine: LocalEngine) -> None:
    artifact: UUID | None = None
    shown = ""
    while True:
        await asyncio.sleep(REFRESH_S)
        done, words = engine.engine_progress()
        if words == shown:
            continue
        shown = words
        try:
            if artifact is None:
                artifact = await acreate_progress_artifact(
                    progress=done, key=f"gpu-now-{shop.run.id}", description=words
                )
            else:
                await update(artifact, progress=done, description=words)
        except Exception as error:
            get_run_logger().warning("The GPU's step was not shown: %s", type(error).__name__)


async def _written(
    shop: Workshop, rows: list[dict[str, str]], earlier: list[dict[str, str]]
) -> None:
    """Write the table: each figure now, and what it was when the run began."""
    was = {row["what"]: row["figure"] for row in earlier}
    table = [{**row, "before this run": was.get(row["what"], "")} for row in rows]
    try:
        await acreate_table_artifact(
            table=table, key=f"gpu-{shop.run.id}", description="What the GPU of this process did."
        )
    except Exception as error:
        get_run_logger().warning("The GPU artifact was not written: %s", type(error).__name__)


LOST = 70
"""Exit code of a lane whose GPU gave it up (EX_SOFTWARE of sysexits.h); `imagemill up` starts another."""


def leave_if_gpu_is_lost(leave: Callable[[int], object] = os._exit) -> None:
    """End this process in a moment when its GPU gave it up: it would refuse every image from now on.

    In a moment, so that the state of the run at hand is told first.
    """
    from imagemill.providers.sdxl.engines import running_engines

    if any(engine.lost for engine in running_engines()):
        logging.getLogger(__name__).error("The GPU's context is gone; this process ends.")
        asyncio.get_running_loop().call_later(LAST_WORDS_S, leave, LOST)
