"""From an order to its first pictures: worded and checked against every route before anything is paid."""

from collections.abc import Sequence

from imagemill.asset.bench import Bench
from imagemill.asset.order import STYLES, AssetOrder
from imagemill.asset.refiner import MAX_REFINED_CHARS
from imagemill.asset.request import AssetRequest
from imagemill.asset.template import template_kind, worded
from imagemill.errors import UnsupportedRequest
from imagemill.ordering import Order, planned
from imagemill.providers.base import Capabilities
from imagemill.routing import Route


def order_for(order: AssetOrder, bench: Bench, prompt: str, sample: int) -> Order:
    """Return the order of one picture of an asset."""
    request = bench.request
    return Order(
        prompt=prompt, negative_prompt=bench.wording.negative_prompt,
        subject=request.description, style=STYLES[template_kind(request, bench.guide)],
        aspect_ratio=request.size.aspect_ratio,
        side_px=max(request.size.width, request.size.height),
        seed=order.seed, sample=sample, safety=order.safety,
    )  # fmt: skip


def benches_of(
    order: AssetOrder, capabilities: Capabilities, requests: Sequence[AssetRequest] | None = None
) -> tuple[Bench, ...]:
    """Return a bench for each asset, worded; says what is wrong before anything is paid.

    Args:
        order: Whose style guide holds.
        capabilities: Of who draws.
        requests: Default: those of the order.

    Raises:
        UnsupportedRequest: no template for the style, or parameters that do not fit it.
    """
    benches: list[Bench] = []
    for request in order.requests if requests is None else requests:
        wording = worded(
            request, order.style_guide, alpha="drawn" if capabilities.alpha else "keyed"
        )
        twins = sum(bench.wording.prompt == wording.prompt for bench in benches)
        benches.append(Bench(request, order.style_guide, wording, twins))
    return tuple(benches)


def check_first_turns(order: AssetOrder, benches: Sequence[Bench], routes: Sequence[Route]) -> None:
    """Make sure that each asset's first picture could be asked of every route.

    May read large files where a route draws on this machine: call it in a thread.

    Raises:
        UnsupportedRequest: one could not; nothing was sent.
    """
    most = longest_prompt(routes)
    for number, bench in enumerate(benches):
        prompt = bench.wording.prompt
        if len(prompt) > most:
            raise UnsupportedRequest(
                f"requests[{number}]: its prompt has {len(prompt):,} characters, the models of "
                f"this run take {most:,}.",
                remedy="Shorten the description or the parameters.",
            )
        for route in routes:
            first = order_for(order, bench, prompt, 0)
            planned(first, route.capabilities, provider=route.provider)


def longest_prompt(routes: Sequence[Route]) -> int:
    """Return how long a prompt may be at every route of a run."""
    return min(MAX_REFINED_CHARS, *(r.capabilities.prompt_limit_chars for r in routes))
