"""What a run knows of its providers' bills before it sends anything."""

from imagemill.ledger.values import Offer
from imagemill.routing import Route
from imagemill.workshop import Workshop


async def recall_bills(shop: Workshop) -> None:
    """Look up whether a ceiling holds for this run and, if so, what its routes billed lately.

    What costs nothing needs no proof. Where nothing is known, the first image goes alone
    (`Workshop.goes_alone`); that is so, too, in a run whose images are thought of on the way.
    """
    offers = {route.id: _offer(route) for route in shop.routes if route.requests}
    paid = [route for route in shop.routes if route.id in offers and offers[route.id].most_usd]
    if not paid and len(offers) == len(shop.routes):
        return
    found = await shop.ledger.billed_lately(shop.run, [offers[route.id] for route in paid])
    shop.capped = found is not None
    for route in shop.routes:
        offer = offers.get(route.id)
        route.proven = not offer.most_usd if offer else route.capabilities.embedded
    for route, bills in zip(paid, found or (), strict=False):
        route.dearness, route.proven = bills.dearness, bills.proven


def _offer(route: Route) -> Offer:
    worst = [route.catalog_usd(index) for index in range(len(route.requests))]
    return Offer(
        provider=route.name, model=route.capabilities.model, least_usd=min(worst),
        most_usd=max(worst),
    )  # fmt: skip
