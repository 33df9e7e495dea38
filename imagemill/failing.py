"""What a failed attempt did: to the bill, to the pace, to the rest of the run."""

from imagemill.errors import (
    Billing,
    ImagemillError,
    ProviderMisconfigured,
    QuotaExhausted,
    RateLimited,
)
from imagemill.workshop import Workshop


async def lost(shop: Workshop, reservation_id: int, *, error_class: str) -> None:
    """Nobody knows what became of a request. What this machine draws itself cost nothing."""
    if shop.capabilities.embedded:
        await shop.ledger.failed(reservation_id, error_class=error_class)
    else:
        await shop.ledger.ambiguous(reservation_id, error_class=error_class)


async def record_failure(shop: Workshop, reservation_id: int, error: ImagemillError) -> None:
    """Write what an attempt that raised `error` was billed; slow down or stop as it says."""
    if isinstance(error, RateLimited):
        shop.pacer.slow_down(error.retry_after_s)
    if isinstance(error, ProviderMisconfigured | QuotaExhausted):
        shop.stopped = error
    if error.billing is Billing.UNKNOWN:
        error.cost_usd = await shop.ledger.ambiguous(reservation_id, error_class=error.error_class)
        return
    await shop.ledger.failed(reservation_id, error_class=error.error_class, cost_usd=error.cost_usd)
