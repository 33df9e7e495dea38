"""The limit across runs and machines: one Prefect lease a shard for all its places."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect import get_client, get_run_logger
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import ObjectNotFound

from blocks.saved import server_is_configured
from imagemill.workshop import Workshop


def limit_name(provider: str) -> str:
    """Return the global concurrency limit's name, as `deployments.bootstrap` creates it."""
    return f"imagemill-{provider}"


@asynccontextmanager
async def provider_places(shop: Workshop) -> AsyncIterator[None]:
    """Hold this run's places at the provider for as long as the run sends.

    Embedded providers and a Prefect without the limit need none. A run that wants more places than
    the limit has gets what there is.
    """
    places = await _places(shop)
    if not places:
        yield
        return
    async with concurrency(
        limit_name(shop.provider.name), occupy=places, strict=True,
        raise_on_lease_renewal_failure=False,
    ):  # fmt: skip
        yield


async def _places(shop: Workshop) -> int:
    """Return how many places to lease: 0 when there is no limit to keep."""
    if shop.stopped or shop.capabilities.embedded or not server_is_configured():
        return 0
    name = limit_name(shop.provider.name)
    async with get_client() as client:
        try:
            limit = await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            get_run_logger().info(
                "No global limit %s on this server; only this run's own holds.", name
            )
            return 0
    if not limit.active:
        return 0
    if limit.limit < shop.batch.max_concurrent:
        get_run_logger().warning(
            "The limit %s allows %d at once; %d were asked for.",
            name, limit.limit, shop.batch.max_concurrent,
        )  # fmt: skip
        shop.lower_to(limit.limit)
    return min(limit.limit, shop.batch.max_concurrent)
