"""The way of one image: reserve, generate, keep the answer (`keeping`), store.

An attempt that starts over finds what is paid and only finishes it.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from imagemill.errors import (
    ImagemillError,
    KeyHeld,
    LedgerError,
)
from imagemill.failing import lost, record_failure
from imagemill.keeping import handed_out, kept, local_file, shown, stored
from imagemill.ledger import Ask, Granted, Orphaned, Reused
from imagemill.request import ImageRequest, ImageResult
from imagemill.results import made_result
from imagemill.workshop import Workshop

T = TypeVar("T")

HELD_POLL_S = 0.5
"""How often a twin's finished image is looked for."""


async def make_image(shop: Workshop, index: int, *, attempt: int = 1) -> ImageResult:
    """Make one image of the run, or find that it is paid already, and store it.

    Costs at most `capabilities.worst_case_usd`, and nothing when the key is paid.

    Raises:
        ImagemillError: `retryable` says whether calling again may help; what the attempt did to
            the bill is in the ledger before this is raised.
    """
    paid, path = await _paid_image(shop, index, attempt=attempt)
    _, preview = await asyncio.gather(
        stored(shop, paid, path), asyncio.to_thread(shown, shop, index, paid, path)
    )
    place = await asyncio.to_thread(handed_out, shop, index, paid, path)
    result = made_result(shop, index, paid, attempt=attempt, path=place)
    result = result.model_copy(update={"preview_path": str(preview) if preview else None})
    await shop.ledger.keep_item(shop.run.id, result, store=shop.store.name)
    return result


async def _paid_image(shop: Workshop, index: int, *, attempt: int) -> tuple[Reused, Path]:
    """Return the paid image for this request and its file, paying for it now if nobody has.

    A place on the wire is held from the reservation to the answer; decoding and keeping the answer
    overlap the next request. Waits, without a place, while a twin run makes the same image.
    """
    deadline = time.monotonic() + shop.capabilities.timeout_s + 60
    while True:
        try:
            async with shop.slot():
                answer = await _reserved_or_settled(shop, index, attempt=attempt)
                if isinstance(answer, Granted):
                    keeping = await _answered(shop, shop.requests[index], answer.reservation_id)
        except KeyHeld:
            if time.monotonic() > deadline:
                raise
        else:
            if isinstance(answer, Granted):
                return await _to_the_end(keeping)
            return answer, await local_file(shop, shop.requests[index].key, answer)
        await asyncio.sleep(HELD_POLL_S)


async def _reserved_or_settled(shop: Workshop, index: int, *, attempt: int) -> Granted | Reused:
    request = shop.requests[index]
    if shop.stopped:
        shop.attempts[index] = attempt - 1
        raise shop.stopped
    ask = _ask(shop, request, attempt=attempt)
    answer = await _reserved(shop, ask)
    if isinstance(answer, Orphaned):
        await _settle_orphan(shop, request.key, answer)
        answer = await _reserved(shop, ask)
    if isinstance(answer, Orphaned):
        raise KeyHeld("An unfinished attempt at this image is being settled elsewhere.")
    return answer


async def _reserved(shop: Workshop, ask: Ask) -> Granted | Reused | Orphaned:
    """Ask the ledger; money granted to somebody who is cancelled meanwhile is given back."""
    asking = asyncio.ensure_future(shop.ledger.reserve(ask))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        if asking.exception() is None and isinstance(answer := asking.result(), Granted):
            await shop.ledger.failed(answer.reservation_id, error_class="")
        raise


def _ask(shop: Workshop, request: ImageRequest, *, attempt: int) -> Ask:
    return Ask(
        key=request.key,
        run_id=shop.run.id,
        lineage=shop.run.lineage,
        holder=shop.run.holder,
        provider=request.provider,
        model=request.model,
        worst_case_usd=shop.capabilities.worst_case_usd(request),
        attempt=attempt,
        reuse_within_s=shop.batch.reuse_within_s,
        resend_ambiguous=shop.batch.resend_ambiguous,
    )


async def _settle_orphan(shop: Workshop, key: str, orphan: Orphaned) -> None:
    """A process died holding this key: charge what it left in the spool, else call it ambiguous."""
    left = await asyncio.to_thread(shop.spool.find, key, orphan.reservation_id)
    with suppress(LedgerError):  # a twin run was quicker: what it wrote is read again right away
        if left is None:
            await lost(shop, orphan.reservation_id, error_class="crashed")
            return
        await shop.ledger.paid(orphan.reservation_id, left.payment)
        await asyncio.to_thread(shop.spool.shelve, left)


async def _answered(
    shop: Workshop, request: ImageRequest, reservation_id: int
) -> asyncio.Task[tuple[Reused, Path]]:
    """Call the provider once; return the work of keeping its answer, already under way.

    Whatever happens, what it did to the bill is written.
    """
    started = time.monotonic()
    shop.sending()
    try:
        generated = await shop.provider.generate(request, shop.references)
        await shop.desk.acquire()
    except asyncio.CancelledError:
        # The request may be on the wire: nobody can say that it is not billed.
        await asyncio.shield(lost(shop, reservation_id, error_class="cancelled"))
        raise
    except ImagemillError as error:
        await record_failure(shop, reservation_id, error)
        raise
    except Exception:
        await shop.ledger.ambiguous(reservation_id, error_class="unexpected")
        raise
    shop.pacer.went_well()
    seconds = round(time.monotonic() - started, 3)
    keeping = kept(shop, request.key, reservation_id, generated, seconds=seconds)
    return asyncio.create_task(keeping)


async def _to_the_end(step: asyncio.Task[T]) -> T:
    """Await a step that money hangs on; a cancellation waits for it."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise
