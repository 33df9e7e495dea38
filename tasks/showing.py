"""What Prefect's UI shows of a run: one progress, one table, one summary with the contact sheet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from blocks.settings import Settings
from imagemill.publishing import GALLERY, MANIFEST, SHEET
from imagemill.report import markdown_summary, money, table_rows
from imagemill.request import BatchResult
from imagemill.workshop import Workshop, workshop_of

REFRESH_S = 1.0
"""How often the progress artifact is written: a server call a second, however many images."""


@asynccontextmanager
async def progress_shown(shop: Workshop) -> AsyncIterator[None]:
    """Keep a progress artifact up to date while the run draws, which does not wait for it."""
    artifact = asyncio.create_task(_created(shop))
    mirror = asyncio.create_task(_mirror(shop, artifact))
    try:
        yield
    finally:
        mirror.cancel()
        with suppress(asyncio.CancelledError):
            await mirror
        if (found := await artifact) is not None:
            await _write(shop, found)


async def _created(shop: Workshop) -> UUID | None:
    try:
        return await acreate_progress_artifact(
            progress=0.0, key=f"progress-{shop.run.id}", description=_words(shop)
        )
    except Exception as error:
        get_run_logger().warning("No progress artifact was made: %s", type(error).__name__)
        return None


async def _mirror(shop: Workshop, creating: asyncio.Task[UUID | None]) -> None:
    shown = -1
    artifact = await asyncio.shield(creating)
    while artifact is not None:
        await asyncio.sleep(REFRESH_S)
        if shop.progress.completed != shown:
            shown = shop.progress.completed
            await _write(shop, artifact)


async def _write(shop: Workshop, artifact: UUID) -> None:
    done = 100.0 * shop.progress.completed / max(1, shop.progress.total)
    try:
        await aupdate_progress_artifact(artifact, progress=done, description=_words(shop))
    except Exception as error:
        get_run_logger().warning("The progress artifact was not written: %s", type(error).__name__)


def _words(shop: Workshop) -> str:
    now = shop.progress
    return f"{now.completed} of {now.total} {now.noun}: {now.succeeded} made, {now.failed} failed"


@task(name="show", cache_policy=NO_CACHE, persist_result=False)
async def show(result: BatchResult) -> None:
    """Write the results table and the summary as UI artifacts."""
    # The gateway serves the default store; links into another one stay as that store gave them.
    ours = workshop_of(result.run_id).batch.store == "default"
    gateway = Settings().gateway_url.rstrip("/") if ours else ""
    shown = through_gateway(result, gateway) if gateway else result
    table = acreate_table_artifact(
        table=table_rows(shown), key=f"results-{result.run_id}", description="One row an image."
    )
    summary = acreate_markdown_artifact(
        markdown=markdown_summary(
            shown,
            contact_sheet_url=shown.contact_sheet_url,
            gallery_url=shown.gallery_url,
            manifest_url=shown.manifest_url,
        ),
        key=f"summary-{result.run_id}",
        description=f"{result.success_count} of {result.total} images, {money(result.cost_usd)} spent.",
    )
    await asyncio.gather(table, summary)


def through_gateway(result: BatchResult, gateway: str) -> BatchResult:
    """Return the result with addresses that are signed again at every view.

    A presigned URL dies after a day at most; the UI keeps its artifacts for longer.
    """
    pages = f"{gateway}/r/{result.run_id}"
    images = tuple(
        image.model_copy(update={"url": f"{gateway}/a/{image.sha256}.{_suffix(image.media_type)}"})
        if image.sha256
        else image
        for image in result.results
    )
    return result.model_copy(
        update={
            "results": images,
            "contact_sheet_url": f"{pages}/{SHEET}",
            "gallery_url": f"{pages}/{GALLERY}",
            "manifest_url": f"{pages}/{MANIFEST}",
        }
    )


def _suffix(media_type: str | None) -> str:
    return {"image/jpeg": "jpg", "image/webp": "webp"}.get(media_type or "", "png")
