"""Opens the providers of a run, in order, and checks that each could serve every image."""

from asyncio import gather, to_thread
from collections.abc import Sequence
from contextlib import AsyncExitStack

from blocks.provider import load_provider
from blocks.settings import Settings
from imagemill.artifact import Digest
from imagemill.breaker import breaker_of
from imagemill.completing import completed, model_for
from imagemill.errors import (
    ProviderError,
    ProviderMisconfigured,
    RequestError,
    UnsupportedRequest,
)
from imagemill.pacing import pacer_of
from imagemill.planning import plan
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import BatchRequest, ImageRequest
from imagemill.routing import Route, route_names


async def open_routes(
    batch: BatchRequest,
    style: Style,
    references: Sequence[Digest],
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
    """
    routes: list[Route] = []
    for name, model in route_names(batch.provider, batch.model, batch.fallback):
        provider = await load_provider(name, settings)
        parts.push_async_callback(provider.aclose)
        try:
            capabilities = provider.capabilities(model or model_for(provider, style.checkpoint))
            sized = _same_size(batch, routes, capabilities)
            requests: Sequence[ImageRequest] = ()
            if known:
                planned = plan(sized, style, capabilities, references=references)
                requests = await to_thread(completed, provider, planned, batch.wishes)
        except UnsupportedRequest as error:
            if not routes:
                raise
            raise UnsupportedRequest(
                f"The fallback {name} cannot draw this batch: {error.message}", remedy=error.remedy
            ) from error
        route = Route(
            name=name, provider=provider, capabilities=capabilities, requests=requests,
            pacer=pacer_of(name, capabilities.model, capabilities.max_in_flight),
            breaker=breaker_of(name, capabilities.model),
        )  # fmt: skip
        _unlike(route, routes)
        routes.append(route)
    return tuple(routes)


def _same_size(
    batch: BatchRequest, before: Sequence[Route], capabilities: Capabilities
) -> BatchRequest:
    """Let a fallback draw at the first one's default size, so that who drew does not show in it."""
    if batch.size or not before:
        return batch
    size = before[0].capabilities.default_size
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
