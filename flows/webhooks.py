"""The outbox sweep: delivers webhook events that did not get through at once."""

from prefect import flow

from tasks.announcing import sweep_outbox


@flow(name="deliver-webhooks", persist_result=False)
async def deliver_webhooks() -> dict[str, int]:
    """Deliver every webhook event whose time has come.

    Returns:
        How many events were delivered, are still waiting (`pending`) or were given up (`dead`).
    """
    return await sweep_outbox()
