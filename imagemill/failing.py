"""What a failed attempt did: to the bill, to the provider's standing, to the rest of the run."""

from imagemill.breaker import Turn
from imagemill.errors import Billing, ImagemillError, RateLimited
from imagemill.routing import FOR_THE_RUN, MAY_MOVE, Route
from imagemill.workshop import Workshop


async def lost(shop: Workshop, route: Route, reservation_id: int, *, error_class: str) -> None:
    """Nobody knows what became of a request. What this machine draws itself cost nothing."""
    if route.capabilities.embedded:
        await shop.ledger.failed(reservation_id, error_class=error_class)
    else:
        await shop.ledger.ambiguous(reservation_id, error_class=error_class)
    shop.unsettled.settled(reservation_id)


async def record_failure(shop: Workshop, reservation_id: int, error: ImagemillError) -> None:
    """Write what an attempt that raised `error` was billed."""
    if error.billing is Billing.UNKNOWN:
        error.cost_usd = await shop.ledger.ambiguous(reservation_id, error_class=error.error_class)
    else:
        await shop.ledger.failed(
            reservation_id, error_class=error.error_class, cost_usd=error.cost_usd
        )
    shop.unsettled.settled(reservation_id)


def judge(
    shop: Workshop, route: Route, index: int, error: ImagemillError, *, attempt: int, turn: Turn
) -> None:
    """Draw what follows from a provider's `error`: slow down, leave it alone, ask it nothing more."""
    if isinstance(error, RateLimited):
        route.pacer.slow_down(error.retry_after_s)
    route.breaker.failed(error, turn)
    if isinstance(error, MAY_MOVE):
        route.failed(index, attempt=attempt)
        if shop.pinned:
            error.remedy = (
                f"{error.remedy} The style lock keeps this batch with {route.id}: run it again "
                "when that works, or without the lock."
            ).strip()
    if isinstance(error, FOR_THE_RUN):
        shop.refuse(route, error)
