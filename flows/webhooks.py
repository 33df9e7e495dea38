"""The outbox: events that did not get through are delivered on their schedule, or when asked to."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.announcing import replay_events, sweep_outbox


@flow(name="deliver-webhooks", persist_result=False)
async def deliver_webhooks() -> dict[str, int]:
    """Deliver every webhook event whose time has come.

    Returns:
        How many events were delivered, are still waiting (`pending`) or were given up (`dead`).
    """
    return await sweep_outbox()


@flow(name="replay-webhooks", persist_result=False)
async def replay_webhooks(
    run_id: Annotated[str, Field(title="Run")] = "",
    event_ids: Annotated[list[str] | None, Field(title="Events")] = None,
) -> dict[str, int]:
    """Send webhook events again now; all dead letters, unless you name a run or events.

    Each keeps its id for ever, so a careful receiver takes it once.

    Args:
        run_id: Only what is not delivered of this run.
        event_ids: Only these, such as msg_…_completed, even if they were delivered.

    Returns:
        How many events were delivered, will be tried again (`pending`) or were given up (`dead`).
    """
    named = event_ids or []
    return await replay_events(named, dead=not (named or run_id.strip()), run_id=run_id)
