"""The way of one image: reserve, generate, decode, spool, charge, store.

Paid bytes are on disk before anything else can go wrong, the charge is written next, the upload
last; an attempt that starts over finds what is paid and only finishes it.
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from imagemill.artifact import ArtifactRef
from imagemill.decode import decoded
from imagemill.errors import (
    AnswerLost,
    ArtifactError,
    Billing,
    BudgetExceeded,
    ImagemillError,
    KeyHeld,
    ProviderMisconfigured,
    QuotaExhausted,
    RateLimited,
    StoreUnavailable,
)
from imagemill.ledger import Ask, Granted, Orphaned, Reused
from imagemill.ledger.values import Account, Payment
from imagemill.orphans import settle_orphan
from imagemill.providers.base import GeneratedImage
from imagemill.request import ImageRequest, ImageResult
from imagemill.results import made_result
from imagemill.spool import Spooled, hand_out
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
        _store(shop, paid, path), asyncio.to_thread(_shown, shop, index, paid, path)
    )
    handed_out = await asyncio.to_thread(_handed_out, shop, index, paid, path)
    result = made_result(shop, index, paid, attempt=attempt, path=handed_out)
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
        if shop.stopped:
            return await _paid_before(shop, index, shop.stopped, attempt=attempt)
        try:
            found = await _asked_once(shop, index, attempt=attempt)
        except KeyHeld:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(HELD_POLL_S)
        except BudgetExceeded as error:
            await _room_for(shop, error)
        else:
            if found:
                return await found


async def _asked_once(
    shop: Workshop, index: int, *, attempt: int
) -> Awaitable[tuple[Reused, Path]] | None:
    """Ask the ledger, and the provider if it must be; None when the run stopped meanwhile.

    Returns what is left to wait for: the keeping of an answer, or the file of a paid one.
    """
    async with shop.slot():
        if shop.stopped:
            return None
        answer = await _reserved_or_settled(shop, index, attempt=attempt)
        if isinstance(answer, Granted):
            keeping = await _answered(shop, shop.requests[index], answer.reservation_id)
            return _to_the_end(keeping)
    return _with_file(shop, index, answer)


async def _with_file(shop: Workshop, index: int, paid: Reused) -> tuple[Reused, Path]:
    return paid, await _local_file(shop, shop.requests[index].key, paid)


async def _paid_before(
    shop: Workshop, index: int, why: ImagemillError, *, attempt: int
) -> tuple[Reused, Path]:
    """Nothing is sent any more; what is paid is delivered all the same.

    Raises:
        ImagemillError: `why` the run stopped, where this image is not paid.
    """
    request = shop.requests[index]
    found = await shop.ledger.reused(_ask(shop, request, attempt=attempt))
    if found is None:
        shop.attempts[index] = attempt - 1
        raise why
    return await _with_file(shop, index, found)


async def _room_for(shop: Workshop, refused: BudgetExceeded) -> None:
    """Wait for a reservation of this run to settle: it may cost less than it holds.

    When none is left the budget is used up, and nothing more is sent.

    Raises:
        BudgetExceeded: for good.
    """
    if not shop.unsettled:
        shop.stopped = shop.stopped or refused
        raise refused
    await shop.unsettled.next()


async def _reserved_or_settled(shop: Workshop, index: int, *, attempt: int) -> Granted | Reused:
    request = shop.requests[index]
    ask = _ask(shop, request, attempt=attempt)
    try:
        answer = await _reserved(shop, ask)
    except BudgetExceeded:
        shop.attempts[index] = attempt - 1
        raise
    shop.attempts[index] = attempt
    if isinstance(answer, Orphaned):
        await _settle_orphan(shop, request.key, answer)
        answer = await _reserved(shop, ask)
    if isinstance(answer, Orphaned):
        raise KeyHeld("An unfinished attempt at this image is being settled elsewhere.")
    if isinstance(answer, Granted):
        shop.unsettled.opened(answer.reservation_id)
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
        deployment=shop.run.deployment,
        provider=request.provider,
        model=request.model,
        worst_case_usd=shop.capabilities.worst_case_usd(request),
        attempt=attempt,
        reuse_within_s=shop.batch.reuse_within_s,
        resend_ambiguous=shop.batch.resend_ambiguous,
    )


async def _settle_orphan(shop: Workshop, key: str, orphan: Orphaned) -> None:
    """A process died holding this key: charge what it left in the spool, else call it ambiguous."""
    await settle_orphan(
        shop.ledger, shop.spool, key=key, reservation_id=orphan.reservation_id,
        embedded=shop.capabilities.embedded,
    )  # fmt: skip


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
        await asyncio.shield(_lost(shop, reservation_id, error_class="cancelled"))
        raise
    except ImagemillError as error:
        await _record_failure(shop, reservation_id, error)
        raise
    except Exception:
        await shop.ledger.ambiguous(reservation_id, error_class="unexpected")
        shop.unsettled.settled(reservation_id)
        raise
    shop.pacer.went_well()
    seconds = round(time.monotonic() - started, 3)
    keeping = _kept(shop, request.key, reservation_id, generated, seconds=seconds)
    return asyncio.create_task(keeping)


async def _kept(
    shop: Workshop, key: str, reservation_id: int, generated: GeneratedImage, *, seconds: float
) -> tuple[Reused, Path]:
    """Decode, spool, charge, shelve. An answer in the spool stays open until it is charged.

    Raises:
        AnswerLost: the picture is broken, or this machine cannot keep it (the run stops sending).
    """
    try:
        spooled = await asyncio.to_thread(
            _decoded_and_spooled, shop, key, reservation_id, generated, seconds=seconds
        )
    except AnswerLost as error:
        await _record_failure(shop, reservation_id, error)
        raise
    finally:
        shop.desk.release()
    above = await shop.ledger.paid(reservation_id, spooled.payment)
    shop.unsettled.settled(reservation_id)
    if above:
        shop.stopped = shop.stopped or _billed_above(spooled.payment, above)
    path = await asyncio.to_thread(shop.spool.shelve, spooled)
    paid = Reused(**dict(spooled.payment), reservation_id=reservation_id, run_id=shop.run.id)
    return paid, path


def _billed_above(payment: Payment, account: Account) -> BudgetExceeded:
    return BudgetExceeded(
        f"The provider billed ${payment.cost_usd} for an image, more than its worst case in the "
        f"catalog; ${account.spent_usd} is spent of a ceiling of ${account.cap_usd}.",
        remedy="Nothing more is sent. Correct the model's price in your catalog file, then resume.",
    )


def _decoded_and_spooled(
    shop: Workshop, key: str, reservation_id: int, generated: GeneratedImage, *, seconds: float
) -> Spooled:
    """Decode in full, then put the answer on disk. Runs in a thread.

    A picture that does not decode is an answer lost; a machine that cannot keep what it pays for
    sends nothing more.
    """
    payment = _payment(generated, seconds=seconds)
    try:
        return shop.spool.keep(key, reservation_id, generated.data, payment)
    except ArtifactError as error:
        shop.stopped = error
        raise AnswerLost(
            f"The picture came and could not be kept: {error.message}",
            remedy=f"{error.remedy} Then run again with --resend-ambiguous.",
        ) from error


def _payment(generated: GeneratedImage, *, seconds: float) -> Payment:
    try:
        image = decoded(generated.data)
    except ArtifactError as error:
        raise AnswerLost(
            f"The provider's picture is broken: {error.message}",
            remedy="It may have been billed; run again with --resend-ambiguous for another attempt.",
        ) from error
    artifact = ArtifactRef(
        digest=image.digest,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        width_px=image.width_px,
        height_px=image.height_px,
    )
    return Payment(
        artifact=artifact, cost_usd=generated.cost_usd, seconds=seconds, seed=generated.seed
    )


async def _to_the_end(step: asyncio.Task[T]) -> T:
    """Await a step that money hangs on; a cancellation waits for it."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


async def _lost(shop: Workshop, reservation_id: int, *, error_class: str) -> None:
    """Nobody knows what became of a request. What this machine draws itself cost nothing."""
    if shop.capabilities.embedded:
        await shop.ledger.failed(reservation_id, error_class=error_class)
    else:
        await shop.ledger.ambiguous(reservation_id, error_class=error_class)
    shop.unsettled.settled(reservation_id)


async def _record_failure(shop: Workshop, reservation_id: int, error: ImagemillError) -> None:
    if isinstance(error, RateLimited):
        shop.pacer.slow_down(error.retry_after_s)
    if isinstance(error, ProviderMisconfigured | QuotaExhausted):
        shop.stopped = error
    if error.billing is Billing.UNKNOWN:
        error.cost_usd = await shop.ledger.ambiguous(reservation_id, error_class=error.error_class)
    else:
        await shop.ledger.failed(
            reservation_id, error_class=error.error_class, cost_usd=error.cost_usd
        )
    shop.unsettled.settled(reservation_id)


async def _local_file(shop: Workshop, key: str, paid: Reused) -> Path:
    """Return the picture's file on this machine; fetch it when another machine made it.

    Raises:
        StoreUnavailable: it is paid, but whoever made it has not uploaded it yet; ask again.
    """
    path = shop.spool.image_path(paid.artifact)
    if await asyncio.to_thread(path.is_file):
        return path
    # A process that died between charge and shelf left it in the spool.
    if left := await asyncio.to_thread(shop.spool.find, key, paid.reservation_id):
        return await asyncio.to_thread(shop.spool.shelve, left)
    if await asyncio.to_thread(path.is_file):  # a twin run was putting it there just now
        return path
    if not await shop.store.exists(paid.artifact):
        raise StoreUnavailable(
            f"The image {paid.artifact.digest[:12]} is paid and not in the store yet.",
            remedy="The machine that made it is uploading it, or must be started again to do so.",
        )
    data = await shop.store.get(paid.artifact)
    return await asyncio.to_thread(shop.spool.adopt, paid.artifact, data)


async def _store(shop: Workshop, paid: Reused, path: Path) -> None:
    """Upload once. An old image is looked for first: usually it lies there, unless emptied."""
    if paid.run_id != shop.run.id and await shop.store.exists(paid.artifact):
        return
    async with shop.uploads:
        await shop.store.put_file(paid.artifact, path)


def _shown(shop: Workshop, index: int, paid: Reused, path: Path) -> Path | None:
    """Make the preview and hang it on the contact sheet, while the next picture is waited for."""
    preview = shop.spool.preview(paid.artifact, path)
    small = str(preview) if preview else None
    shop.sheet.hang(index, paid.artifact.digest, str(path), small)
    return preview


def _handed_out(shop: Workshop, index: int, paid: Reused, path: Path) -> Path:
    if shop.output_dir is None:
        return path
    name = f"{index + 1:04}-{paid.artifact.digest[:12]}{path.suffix}"
    return hand_out(path, shop.output_dir, name)
