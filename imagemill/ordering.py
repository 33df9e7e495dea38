"""Images that are thought of while a run is going on: each is planned for every route, then numbered."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from imagemill.artifact import Digest, digest_of
from imagemill.asset.negative import placed
from imagemill.completing import completed
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import ImageRequest, Safety
from imagemill.workshop import Workshop

_SIDES_PX = {"256": 256, "512": 512, "1K": 1024, "2K": 2048, "4K": 4096}


class Order(BaseModel):
    """One image as the thinker of it words it, before a model is known.

    Attributes:
        prompt: The final words, style included.
        negative_prompt: What to avoid; folded into the prompt where a model has no field for it.
        side_px: Longer side wanted; the smallest size of each model that has it is asked for.
        sample: 0 for the first image of these words, 1 for another one of the same, and so on.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    prompt: str = Field(repr=False)
    negative_prompt: str = Field(default="", repr=False)
    subject: str = Field(default="", repr=False)
    style: str = ""
    aspect_ratio: str = "1:1"
    side_px: int = 1024
    seed: int | None = None
    sample: int = 0
    safety: Safety = "block_few"


def planned(
    order: Order,
    capabilities: Capabilities,
    *,
    references: Sequence[Digest] = (),
    provider: ImageProvider | None = None,
) -> ImageRequest:
    """Return the order as a request to one model, as `provider` will draw it.

    Raises:
        UnsupportedRequest: the model cannot do it.
        ProviderMisconfigured: a file that draws is missing.
    """
    prompt, negative = placed(order.prompt, order.negative_prompt, capabilities)
    seeded = order.seed is not None and capabilities.seed
    request = ImageRequest(
        provider=capabilities.provider, model=capabilities.model, prompt=prompt,
        negative_prompt=negative, subject=order.subject, style=order.style,
        aspect_ratio=nearest_ratio(order.aspect_ratio, capabilities.aspect_ratios),
        size=size_for(order.side_px, capabilities),
        seed=((order.seed or 0) + order.sample) % 2**31 if seeded else None,
        sample=order.sample, safety=order.safety, references=tuple(references),
    )  # fmt: skip
    capabilities.check(request)
    return completed(provider, [request], [None])[0] if provider else request


def ordered(shop: Workshop, order: Order, *, references: Sequence[bytes] = ()) -> int:
    """Add an image to a run, for each of its routes; returns its index for `make_image`.

    Args:
        shop: The run.
        order: What is wanted.
        references: Encoded pictures that this image alone is guided by, in the order they are sent.

    Raises:
        UnsupportedRequest: one of the models cannot do it; nothing was added.
    """
    digests = tuple(digest_of(data) for data in references)
    requests = [
        planned(order, route.capabilities, references=digests, provider=route.provider)
        for route in shop.routes
    ]
    index = len(shop.requests)
    for route, request in zip(shop.routes, requests, strict=True):
        route.requests = [*route.requests, request]
    if references:
        shop.own_references[index] = tuple(references)
    return index


def size_for(side_px: int, capabilities: Capabilities) -> str:
    """Return the smallest size, with a known price, that has `side_px`; the largest if none has.

    A picture is made smaller without loss, and larger never well.
    """
    known = [
        (_SIDES_PX[name], name)
        for name, price in capabilities.sizes.items()
        if price is not None and name in _SIDES_PX
    ]
    if not known:
        return capabilities.default_size
    enough = [pair for pair in known if pair[0] >= side_px]
    return (min(enough) if enough else max(known))[1]


def nearest_ratio(wanted: str, allowed: Sequence[str]) -> str:
    """Return the aspect ratio of a model that is nearest to the one wanted."""

    def wide(ratio: str) -> float:
        width, height = map(int, ratio.split(":"))
        return width / height

    def distance(ratio: str) -> float:
        return max(wide(wanted) / wide(ratio), wide(ratio) / wide(wanted))

    return min(allowed, key=distance) if allowed and wanted not in allowed else wanted
