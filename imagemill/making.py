"""The way of one image: reserve, generate, keep the answer (`keeping`), store.

An attempt that starts over finds what is paid and only finishes it.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from imagemill.breaker import Turn
from imagemill.errors import (
    BudgetExceeded,
    ImagemillError,
    KeyHeld,
)
from imagemill.failing import judge, lost, record_failure
from imagemill.keeping import handed_out, kept, local_file, previewed, stored
from imagemill.ledger import Ask, Granted, Orphaned, Reused
from imagemill.orphans import settle_orphan
from imagemill.request import ImageResult
from imagemill.results import made_result
from imagemill.routing import MAY_MOVE, Route, best_route, some_route
from imagemill.workshop import Workshop

T = TypeVar("T")

HELD_POLL_S = 0.5
"""How often a twin's finished image is looked for."""


async def make_image(shop: Workshop, index: int, *, attempt: int = 1) -> ImageResult:
    """Make one image of the run, or find that it is paid already, and store it.

    Costs at most what is held for it (`Route.worst_case_usd`) as a rule, and nothing when the key is paid.

    Raises:
        ImagemillError: `retryable` says whether calling again may help; what the attempt did to
            the bill is in the ledger before this is raised.
    """
    paid, path = await _paid_image(shop, index, attempt=attempt)
    _, preview = await asyncio.gather(
        stored(shop, paid, path), asyncio.to_thread(previewed, shop, paid, path)
    )
    place = await asyncio.to_thread(handed_out, shop, index, paid, path)
    result = made_result(shop, index, paid, attempt=attempt, path=place, preview_path=preview)
    await asyncio.gather(
        shop.ledger.keep_item(shop.run.id, result, store=shop.store.name),
        asyncio.to_thread(shop.sheet.hang, result),
    )
    return result


async def is_paid(shop: Workshop, index: int) -> bool:
    """Tell whether `make_image` would find this image paid. Holds and sends nothing."""
    ask = _ask(shop, some_route(shop.open_routes, index), index, attempt=1)
    return await shop.ledger.reused(ask) is not None


async def _paid_image(shop: Workshop, index: int, *, attempt: int) -> tuple[Reused, Path]:
    """Return the paid image for this request and its file, paying for it now if nobody has.

    Asks the best route, and at once the next one when that one failed and is not worth a retry.
    Waits, without a place on the wire, while a twin run makes the same image.
    """
    longest_s = max(route.capabilities_of(index).timeout_s for route in shop.routes)
    deadline = time.monotonic() + longest_s + 60
    failed_now: set[str] = set()
    while True:
        if shop.stopped:
            return await _paid_before(shop, index, shop.stopped, attempt=attempt)
        route = some_route(shop.open_routes, index)
        outcomes = shop.unsettled.outcomes
        try:
            found = await _asked_once(shop, route, index, attempt=attempt)
        except (KeyHeld, BudgetExceeded) as error:
            await _waited_for(shop, error, deadline, outcomes)
        except MAY_MOVE:
            failed_now.add(route.id)
            if not _moves_on(shop, index, failed_now):
                raise
        else:
            if found:
                return await found


async def _waited_for(
    shop: Workshop, error: KeyHeld | BudgetExceeded, deadline: float, outcomes: int
) -> None:
    """Wait, without a place on the wire, for a twin run's image or for room in the budget."""
    if isinstance(error, BudgetExceeded):
        await _room_for(shop, error, outcomes)
    elif time.monotonic() > deadline:
        raise error
    else:
        await asyncio.sleep(HELD_POLL_S)


def _moves_on(shop: Workshop, index: int, failed_now: set[str]) -> bool:
    """Whether another route than those that failed in this attempt is the best one now."""
    better = best_route(shop.open_routes, index)
    return not shop.stopped and better is not None and better.id not in failed_now


async def _asked_once(
    shop: Workshop, route: Route, index: int, *, attempt: int
) -> Awaitable[tuple[Reused, Path]] | None:
    """Ask the ledger, and `route` if it must be; None when that is not the way any more.

    A place on the wire is held from the reservation to the answer; decoding and keeping the answer
    overlap the next request. Returns what is left to wait for: the keeping of an answer, or the
    file of a paid one.
    """
    async with shop.slot(route) as alone:
        if shop.stopped or some_route(shop.open_routes, index) is not route:
            return None  # stopped, fallen ill or pinned while this image waited
        if shop.goes_alone(route) and not alone:
            return None  # it billed too much while this image waited
        with route.breaker.turn() as turn:
            ask, answer = await _reserved_or_settled(shop, route, index, attempt=attempt)
            if isinstance(answer, Granted):
                granted = answer.reservation_id
                keeping = await _answered(shop, route, index, ask, granted, turn=turn)
        shop.pin(route)
        if isinstance(answer, Granted) and alone and shop.capped:
            with suppress(ImagemillError):  # raised below
                await to_the_end(keeping)  # the next one goes when this one's bill is booked
    return to_the_end(keeping) if isinstance(answer, Granted) else _with_file(shop, answer)


async def _with_file(shop: Workshop, paid: Reused) -> tuple[Reused, Path]:
    return paid, await local_file(shop, paid)


async def _paid_before(
    shop: Workshop, index: int, why: ImagemillError, *, attempt: int
) -> tuple[Reused, Path]:
    """Nothing is sent any more; what is paid is delivered all the same.

    Raises:
        ImagemillError: `why` the run stopped, where this image is not paid.
    """
    route = some_route(shop.open_routes, index)
    found = await shop.ledger.reused(_ask(shop, route, index, attempt=attempt))
    if found is None:
        shop.attempts[index] = attempt - 1
        raise why
    return await _with_file(shop, found)


async def _room_for(shop: Workshop, refused: BudgetExceeded, outcomes: int) -> None:
    """Wait for a reservation of this run to settle: it may cost less than it holds.

    When none is left, and none settled since there were `outcomes`, the budget is used up and
    nothing more is sent.

    Raises:
        BudgetExceeded: for good.
    """
    if shop.unsettled.outcomes != outcomes:
        return
    if not shop.unsettled:
        shop.stopped = shop.stopped or refused
        raise refused
    await shop.unsettled.next()


async def _reserved_or_settled(
    shop: Workshop, route: Route, index: int, *, attempt: int
) -> tuple[Ask, Granted | Reused]:
    ask = _ask(shop, route, index, attempt=attempt)
    try:
        answer = await reserved(shop, ask)
    except BudgetExceeded as error:
        shop.attempts[index] = attempt - 1
        if route.dearness > 1:
            error.remedy = f"{route.id} billed more than its price in the catalog. {error.remedy}"
        raise
    shop.attempts[index] = attempt
    shop.asked[index] = route
    if isinstance(answer, Orphaned):
        await _settle_orphan(shop, index, answer)
        answer = await reserved(shop, ask)
    if isinstance(answer, Orphaned):
        raise KeyHeld("An unfinished attempt at this image is being settled elsewhere.")
    if isinstance(answer, Granted):
        shop.unsettled.opened(answer.reservation_id)
    return ask, answer


async def reserved(shop: Workshop, ask: Ask) -> Granted | Reused | Orphaned:
    """Ask the ledger; money granted to somebody who is cancelled meanwhile is given back."""
    asking = asyncio.ensure_future(shop.ledger.reserve(ask))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        if asking.exception() is None and isinstance(answer := asking.result(), Granted):
            await shop.ledger.failed(answer.reservation_id, error_class="")
        raise


def _ask(shop: Workshop, route: Route, index: int, *, attempt: int) -> Ask:
    request = route.requests[index]
    others = {each.requests[index].key for each in shop.routes} - {request.key}
    return Ask(
        key=request.key,
        alternatives=tuple(sorted(others)),
        own_only=shop.locked,
        run_id=shop.run.id,
        lineage=shop.run.lineage,
        holder=shop.run.holder,
        deployment=shop.run.deployment,
        provider=route.name,
        model=request.model,
        worst_case_usd=route.worst_case_usd(index),
        attempt=attempt,
        reuse_within_s=shop.batch.reuse_within_s,
        resend_ambiguous=shop.batch.resend_ambiguous,
    )


async def _settle_orphan(shop: Workshop, index: int, orphan: Orphaned) -> None:
    """A process died holding this key: charge what it left in the spool, else call it ambiguous."""
    route = next(each for each in shop.routes if each.requests[index].key == orphan.key)
    await settle_orphan(
        shop.ledger, shop.spool, key=orphan.key, reservation_id=orphan.reservation_id,
        embedded=route.capabilities.embedded,
    )  # fmt: skip


async def _answered(
    shop: Workshop, route: Route, index: int, ask: Ask, reservation_id: int, *, turn: Turn
) -> asyncio.Task[tuple[Reused, Path]]:
    """Call the provider once; return the work of keeping its answer, already under way.

    Whatever happens, what it did to the bill is written.
    """
    started = time.monotonic()
    shop.sending()
    try:
        generated = await route.provider.generate(route.requests[index], shop.references_of(index))
        # Before anything waits: whoever is asked for next is held at no less.
        route.billed(index, generated.cost_usd, held_usd=ask.worst_case_usd)
        await shop.desk.acquire()
    except asyncio.CancelledError:
        # The request may be on the wire: nobody can say that it is not billed.
        await asyncio.shield(lost(shop, route, reservation_id, error_class="cancelled"))
        raise
    except ImagemillError as error:
        if error.cost_usd > ask.worst_case_usd:
            route.billed(index, error.cost_usd, held_usd=ask.worst_case_usd)
        judge(shop, route, index, error, attempt=ask.attempt, turn=turn)
        await record_failure(shop, reservation_id, error)
        raise
    except Exception:
        await shop.ledger.ambiguous(reservation_id, error_class="unexpected")
        shop.unsettled.settled(reservation_id)
        raise
    route.pacer.went_well()
    route.breaker.answered()
    seconds = round(time.monotonic() - started, 3)
    keeping = kept(shop, ask, reservation_id, generated, seconds=seconds)
    return asyncio.create_task(keeping)


async def to_the_end(step: asyncio.Task[T]) -> T:
    """Await a step that money hangs on; a cancellation waits for it."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise
