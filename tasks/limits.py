"""The limit across runs and machines: one Prefect lease a shard and provider for all its places."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prefect import get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import ObjectNotFound

from blocks.saved import server_is_configured
from imagemill.workshop import Workshop


def limit_name(provider: str) -> str:
    """Return the global concurrency limit's name, as `deployments.bootstrap` creates it."""
    return f"imagemill-{provider}"


@asynccontextmanager
async def provider_places(shop: Workshop) -> AsyncIterator[None]:
    """Hold this run's places at its providers for as long as the run sends.

    Embedded providers and a Prefect without the limit need none. A run that wants more places than
    a limit has gets what there is. Limits are taken in the order of their names: two runs with
    two providers each cannot wait for each other.
    """
    places = await _places(shop)
    async with AsyncExitStack() as held:
        for name in sorted(places):
            lease = concurrency(
                name, occupy=places[name], strict=True, raise_on_lease_renewal_failure=False
            )
            await held.enter_async_context(lease)
        yield


async def _places(shop: Workshop) -> dict[str, int]:
    """Return how many places to lease of each limit; nothing where there is no limit to keep."""
    if shop.stopped or not server_is_configured():
        return {}
    hosted = (r for r in shop.open_routes if not r.refused and not r.capabilities.embedded)
    names = dict.fromkeys(limit_name(route.provider.name) for route in hosted)
    async with get_client() as client:
        found = {name: await _limit(client, name) for name in names}
    limits = {name: limit for name, limit in found.items() if limit is not None}
    wanted = shop.batch.max_concurrent
    for name, limit in limits.items():
        if limit < wanted:
            get_run_logger().warning(
                "The limit %s allows %d at once; %d were asked for.", name, limit, wanted
            )
    if limits:
        shop.lower_to(min(limits.values()))
    return {name: min(limit, wanted) for name, limit in limits.items() if limit}


async def _limit(client: PrefectClient, name: str) -> int | None:
    """Return the limit's places, None when the server has no such limit or it is switched off."""
    try:
        limit = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        get_run_logger().info("No global limit %s on this server; only this run's own holds.", name)
        return None
    return limit.limit if limit.active else None
