"""What a provider adds to planned requests: how it will draw them, and in which order it likes them."""

from collections.abc import Sequence

from imagemill.diffusion import DiffusionWish
from imagemill.providers.base import Completes, DrawsByStyle, ImageProvider, Ordered
from imagemill.request import ImageRequest


def model_for(provider: ImageProvider, checkpoint: str) -> str:
    """Return the model of a provider that draws a style; "" is its default one.

    Raises:
        UnsupportedRequest: it has no such checkpoint.
    """
    return provider.model_for(checkpoint) if isinstance(provider, DrawsByStyle) else ""


def completed(
    provider: ImageProvider,
    requests: Sequence[ImageRequest],
    wishes: Sequence[DiffusionWish | None],
) -> tuple[ImageRequest, ...]:
    """Return the requests as the provider will draw them. May read large files: call it in a thread.

    Args:
        provider: Who draws.
        requests: As planned.
        wishes: What the asker wants of each, for a provider that diffuses.

    Raises:
        UnsupportedRequest: a wish that the provider cannot meet.
        ProviderMisconfigured: a file that draws is missing or not what it should be.
    """
    if isinstance(provider, Completes):
        return tuple(provider.completed(requests, wishes))
    return tuple(requests)


def asking_order(provider: ImageProvider, requests: Sequence[ImageRequest]) -> Sequence[int]:
    """Return the indices of the requests in the order in which they are asked.

    Each stands there once: what a provider's own order leaves out comes last.
    """
    everything = range(len(requests))
    if not isinstance(provider, Ordered):
        return everything
    return tuple(dict.fromkeys([*provider.order(requests), *everything]))
