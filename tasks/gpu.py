"""What Prefect's UI shows of the GPU: memory, loads, swaps, and where the time went."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact
from prefect.artifacts import aupdate_progress_artifact as update

from imagemill.providers.base import LocalEngine
from imagemill.workshop import Workshop

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
