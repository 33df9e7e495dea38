"""The end of a batch: contact sheet, gallery and manifest, on this machine and in the store."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from imagemill.credits import drawers_label
from imagemill.delivering import outbox_row
from imagemill.errors import RunStopped
from imagemill.gallery import gallery_pages
from imagemill.ledger.values import OutboxRow, RunState
from imagemill.report import manifest
from imagemill.request import BatchResult, ImageRequest
from imagemill.spool import write_durably
from imagemill.workshop import Workshop

SHEET, GALLERY, MANIFEST = "contact-sheet.png", "gallery.html", "manifest.json"
MOST_STYLES_NAMED = 3


@dataclass(frozen=True)
class Page:
    """One thing shown about a run, under a fixed name.

    Attributes:
        beside: What lies in the run's folder instead, when its links should be files there.
    """

    name: str
    media_type: str
    data: bytes
    beside: bytes = b""


async def publish_run(shop: Workshop) -> BatchResult:
    """Show the run: write sheet, gallery and manifest beside each other, and return the result.

    The manifest goes last: where it lies, everything it speaks of lies too.

    Raises:
        StoreError: the store did not take them; the images themselves are stored already.
    """
    result = await result_of(shop)
    await asyncio.gather(_shown(shop, _sheet, result), _shown(shop, _gallery, result))
    await _shown(shop, _record, result)
    return result


async def _shown(
    shop: Workshop, drawn: Callable[[Workshop, BatchResult], Page], result: BatchResult
) -> None:
    """Draw a page in a thread of its own, then write it while others are still being drawn."""
    await _written(shop, await asyncio.to_thread(drawn, shop, result))


async def unpublished(shop: Workshop) -> BatchResult:
    """Return the result of a run whose pages the store did not take: they lie on this machine only.

    What it cost and what came of each image is told all the same.
    """
    nowhere = {"manifest_url": None, "contact_sheet_url": None, "gallery_url": None}
    return (await result_of(shop)).model_copy(update=nowhere)


async def _written(shop: Workshop, page: Page) -> None:
    """Put a page into the run's folder and into the store."""
    await asyncio.to_thread(write_durably, shop.folder / page.name, page.beside or page.data)
    await shop.store.put_named(_key(shop.run.id, page.name), page.data, media_type=page.media_type)


async def close_run(shop: Workshop, result: BatchResult) -> OutboxRow | None:
    """End the run in the ledger, together with the event that says so; return that event's row.

    None when nobody is to be told. What is in the outbox is delivered by `delivering.attempt` now,
    or by the sweep later.
    """
    summary = result.model_dump(mode="json", exclude={"results"})
    row = None
    if shop.endpoint:
        row = outbox_row(result, shop.endpoint, name=shop.batch.webhook, now=shop.ledger.now())
    await shop.ledger.end_run(shop.run.id, run_state(result), summary, event=row)
    return row


async def result_of(shop: Workshop) -> BatchResult:
    """Read the run's result from the ledger: what was spent is its word, not a sum of guesses."""
    images = tuple(await shop.ledger.items(shop.run.id))
    money = await shop.ledger.money_of(shop.run.id)
    place = shop.folder
    counted = BatchResult.of(
        shop.run.id,
        images,
        seconds=round(shop.seconds, 3),
        provider=shop.provider.name,
        model=shop.capabilities.model,
        style_name=_styles(shop),
        manifest_url=shop.store.named_url(_key(shop.run.id, MANIFEST)),
        contact_sheet_url=shop.store.named_url(_key(shop.run.id, SHEET)),
        gallery_url=shop.store.named_url(_key(shop.run.id, GALLERY)),
        contact_sheet_path=str(place / SHEET),
        gallery_path=str(place / GALLERY),
    )
    return counted.model_copy(update={"cost_usd": money.spent_usd})


def _styles(shop: Workshop) -> str:
    """Return the style, or the styles when rows differ: `Watercolor, Pixel Art, Anime, 2 more`."""
    names = list(dict.fromkeys(request.style for request in shop.requests))
    more = [f"{len(names) - MOST_STYLES_NAMED} more"] if len(names) > MOST_STYLES_NAMED else []
    return ", ".join([*names[:MOST_STYLES_NAMED], *more]) or shop.style.name


def _sheet(shop: Workshop, result: BatchResult) -> Page:
    label = drawers_label(result)
    data = shop.sheet.png(
        result.results, title=result.style_name, label=label, spent_usd=result.cost_usd
    )
    return Page(SHEET, "image/png", data)


def _gallery(shop: Workshop, result: BatchResult) -> Page:
    stored, beside = gallery_pages(result, beside=shop.folder)
    return Page(GALLERY, "text/html", stored.encode(), beside.encode())


def _record(shop: Workshop, result: BatchResult) -> Page:
    record = json.dumps(manifest(result, _all_requests(shop)), ensure_ascii=False, indent=1)
    return Page(MANIFEST, "application/json", record.encode())


def _all_requests(shop: Workshop) -> Iterator[ImageRequest]:
    return chain.from_iterable(route.requests for route in shop.routes)


def _key(run_id: str, name: str) -> str:
    return f"runs/{run_id}/{name}"


def run_state(result: BatchResult) -> RunState:
    """Return how the run ended: cancelled when stopped, failed only when nothing succeeded."""
    if any(image.error_class == RunStopped.error_class for image in result.results):
        return "cancelled"
    if not result.success_count:
        return "failed"
    return "completed_with_failures" if result.failure_count else "completed"
