"""Opens the providers of a run, in order, and checks that each could serve every image."""

from asyncio import gather, to_thread
from collections.abc import Sequence
from contextlib import AsyncExitStack

from blocks.provider import load_provider
from blocks.settings import Settings
from imagemill.breaker import breaker_of
from imagemill.completing import completed
from imagemill.errors import (
    ProviderError,
    ProviderMisconfigured,
    RequestError,
    UnsupportedRequest,
)
from imagemill.looks import Looks, able, terms_of
from imagemill.pacing import pacer_of
from imagemill.planning import plan
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import BatchRequest
from imagemill.routing import Route, route_names


async def open_routes(
    batch: BatchRequest,
    looks: Looks,
    *,
    settings: Settings,
    parts: AsyncExitStack,
    known: bool = True,
) -> tuple[Route, ...]:
    """Return the provider asked for and those of the fallback, closed again with `parts`.

    With `known` False the images are not those of `batch.prompts`: they are thought of on the way
    (`imagemill.ordering`).

    Raises:
        RequestError: one of them is unknown, named twice, or cannot serve the batch; says which.
        ProviderMisconfigured: a file that one of them draws with is missing.
    """
    routes: list[Route] = []
    for name, model in route_names(batch.provider, batch.model, batch.fallback):
        provider = await load_provider(name, settings)
        parts.push_async_callback(provider.aclose)
        try:
            route = _route(name, provider, able(provider, model, looks.common.style))
            if known:
                await _plan(route, batch, looks, model=model, first=routes[0] if routes else None)
        except UnsupportedRequest as error:
            if not routes:
                raise
            raise UnsupportedRequest(
                f"The fallback {name} cannot draw this batch: {error.message}", remedy=error.remedy
            ) from error
        _unlike(route, routes)
        routes.append(route)
    return tuple(routes)


def _route(name: str, provider: ImageProvider, capabilities: Capabilities) -> Route:
    return Route(
        name=name, provider=provider, capabilities=capabilities, requests=(),
        pacer=pacer_of(name, capabilities.model, capabilities.max_in_flight),
        breaker=breaker_of(name, capabilities.model),
    )  # fmt: skip


async def _plan(
    route: Route, batch: BatchRequest, looks: Looks, *, model: str, first: Route | None
) -> None:
    """Give a route the batch's images. Rows name models of the `first` one; others use their own."""
    sized = _same_size(batch, first, route.capabilities) if first else batch
    own = terms_of(sized, looks, route.provider, model=model if first else None)
    planned = plan(
        sized, looks.common.style, route.capabilities, references=looks.common.digests, own=own
    )
    route.models = {terms.capabilities.model: terms.capabilities for terms in own}
    route.requests = await to_thread(completed, route.provider, planned, batch.wishes)


def _same_size(batch: BatchRequest, first: Route, capabilities: Capabilities) -> BatchRequest:
    """Let a fallback draw at the first one's default size, so that who drew does not show in it."""
    if batch.size:
        return batch
    size = first.capabilities.default_size
    known = capabilities.sizes.get(size) is not None
    return batch.model_copy(update={"size": size}) if known else batch


def _unlike(route: Route, before: Sequence[Route]) -> None:
    if route.id in {each.id for each in before}:
        raise RequestError(
            f"The fallback names {route.id}, which is asked already.",
            remedy="Name each provider's model once; the first one is `provider` itself.",
        )


async def key_problems(
    routes: Sequence[Route],
) -> list[tuple[Route, ProviderMisconfigured]]:
    """Return who cannot be asked in this run, and why. When nobody can, every image says so (B10)."""
    found = await gather(*(_key_problem(route.provider) for route in routes))
    return [(route, problem) for route, problem in zip(routes, found, strict=True) if problem]


async def _key_problem(provider: ImageProvider) -> ProviderMisconfigured | None:
    try:
        await provider.check_configuration()
    except ProviderMisconfigured as error:
        return error
    except ProviderError:
        return None  # away for a moment: each image's own retries deal with that
    return None
