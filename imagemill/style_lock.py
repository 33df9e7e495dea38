"""A style-locked batch is drawn by one model: also when it was begun by an earlier run."""

from imagemill.workshop import Workshop


async def pin_to_paid(shop: Workshop) -> None:
    """Pin a style-locked batch to the model that drew most of what it would find paid.

    Called before anything is sent. Nothing paid yet: the first image decides (`Workshop.slot`).
    """
    if not shop.locked:
        return
    counts = []
    for route in shop.routes:
        keys = [request.key for request in route.requests]
        found = await shop.ledger.paid_in(shop.run, keys, reuse_within_s=shop.batch.reuse_within_s)
        counts.append(len(found))
    if most := max(counts):
        shop.pin(shop.routes[counts.index(most)])
