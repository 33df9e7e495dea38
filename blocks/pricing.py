"""What a pack comes to before anything is sent: pictures and their price, by the catalog."""

from asyncio import to_thread
from contextlib import AsyncExitStack
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from blocks.routes import open_routes
from blocks.settings import Settings
from imagemill.asset.order import AssetOrder
from imagemill.asset.planning import benches_of, check_first_turns, order_for
from imagemill.looks import Look, Looks
from imagemill.ordering import planned
from imagemill.pack.order import Pack
from imagemill.prompt import find_style


class PackPrice(BaseModel):
    """Pictures of a pack and their price in USD: each made once, and the most the loop may make."""

    model_config = ConfigDict(frozen=True)

    model: str
    assets: int
    animations: int
    least_pictures: int
    most_pictures: int
    least_usd: Decimal
    most_usd: Decimal


async def pack_price(
    pack: Pack, order: AssetOrder, settings: Settings, *, max_redos: int = 2
) -> PackPrice:
    """Return what the pictures of a pack cost at least and at most; judges are not in it.

    Raises:
        RequestError: the pack cannot be made as asked; says why.
    """
    batch = order.batch()
    style = find_style(batch.style_name, settings.styles_dir)
    async with AsyncExitStack() as parts:
        routes = await open_routes(
            batch, Looks(Look(style)), settings=settings, parts=parts, known=False
        )
        capabilities = routes[0].capabilities
        benches = benches_of(order, capabilities)
        await to_thread(check_first_turns, order, benches, routes)
    each = [
        capabilities.worst_case_usd(
            planned(order_for(order, bench, bench.wording.prompt, 0), capabilities)
        )
        for bench in benches
    ]
    later = sum(film.frames - 1 for film in pack.animated())
    frame_usd = max(each[len(pack.requests()) :], default=Decimal(0))
    once, total, again = sum(each, Decimal(0)), len(each), 1 + max_redos
    return PackPrice(
        model=capabilities.model, assets=len(pack.requests()), animations=len(pack.animated()),
        least_pictures=total + later, most_pictures=total * order.max_iterations + later * again,
        least_usd=once + later * frame_usd,
        most_usd=once * order.max_iterations + later * again * frame_usd,
    )  # fmt: skip
