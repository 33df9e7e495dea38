"""Close the run and tell its webhook. The event is in the outbox before it is on the wire."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.settings import Settings
from blocks.webhook import load_endpoint
from imagemill.delivering import Endpoint, EndpointOf, attempt, replay, sweep
from imagemill.ledger import Ledger, open_ledger
from imagemill.ledger.values import OutboxRow
from imagemill.publishing import close_run
from imagemill.request import BatchResult
from imagemill.workshop import workshop_of


@task(name="announce", cache_policy=NO_CACHE, persist_result=False)
async def announce(result: BatchResult) -> str:
    """End the run and deliver its event once; returns "none", "delivered", "pending" or "dead".

    What is not delivered now is delivered by the sweep (`flows.webhooks`), on its own schedule. A
    receiver that is away never fails the run.
    """
    shop = workshop_of(result.run_id)
    row = await close_run(shop, result)
    if row is None or shop.endpoint is None:
        return "none"
    after = await attempt(shop.ledger, row, shop.endpoint)
    if after.state != "delivered":
        get_run_logger().warning(
            "The webhook %s is not delivered yet: %s", after.event_id, after.last_error
        )
    return after.state


@task(name="sweep-outbox", cache_policy=NO_CACHE, persist_result=False)
async def sweep_outbox() -> dict[str, int]:
    """Deliver what is due; returns how many rows ended in each state."""
    return await _counted(sweep)


@task(name="replay-events", cache_policy=NO_CACHE, persist_result=False)
async def replay_events(event_ids: list[str], *, dead: bool, run_id: str) -> dict[str, int]:
    """Send events again now, under their own ids; returns how many ended in each state."""
    return await _counted(
        partial(replay, event_ids=event_ids, dead=dead, run_id=run_id.strip() or None)
    )


async def _counted(
    deliver: Callable[[Ledger, EndpointOf], Awaitable[list[OutboxRow]]],
) -> dict[str, int]:
    """Deliver with this machine's ledger and endpoints; returns how many ended in each state."""
    settings = Settings()

    async def endpoint_of(name: str) -> Endpoint:
        return await load_endpoint(name, settings)

    ledger = open_ledger(settings.ledger_url)
    try:
        rows = await deliver(ledger, endpoint_of)
    finally:
        ledger.close()
    for row in rows:
        get_run_logger().info("%s is %s: %s", row.event_id, row.state, row.last_error or "taken")
    return dict(Counter(row.state for row in rows))
