"""Opens the style router's desk: by rules for nothing, or with a model whose words the ledger pays."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from blocks.settings import Settings
from blocks.speakers import load_speaker
from blocks.store import load_store
from blocks.workshop import Opening
from imagemill.artifact import digest_of
from imagemill.asking import Speaker
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.holder import holder
from imagemill.ledger.runs import ROUTE
from imagemill.planning import checked_batch
from imagemill.prompt import find_style
from imagemill.spool import Spool
from imagemill.style_router.desk import Desk, RouteOrder, manned
from imagemill.workshop import Workshop, opened


@asynccontextmanager
async def open_desk(
    order: RouteOrder, opening: Opening, *, settings: Settings | None = None
) -> AsyncIterator[Desk]:
    """Open the desk; a run is begun in the ledger only where a model is asked.

    Raises:
        ImagemillError: no such model, or it cannot be asked; nothing was paid.
    """
    settings = settings or Settings()
    speaker = await load_speaker(order.words, settings, role="router", provider="gemini")
    if speaker is None:
        desk = Desk(order)
        with manned(opening.run_id, desk):
            yield desk
        return
    async with AsyncExitStack() as parts:
        parts.push_async_callback(speaker.words.aclose)
        ledger = open_ledger(settings.ledger_url)
        parts.callback(ledger.close)
        shop = await _shop(order, opening, settings, ledger, speaker)
        async with opened(shop):
            desk = Desk(order, shop, speaker)
            with manned(opening.run_id, desk):
                yield desk
            await ledger.end_run(opening.run_id, "completed")


async def _shop(
    order: RouteOrder, opening: Opening, settings: Settings, ledger: Ledger, speaker: Speaker
) -> Workshop:
    """Return a workshop without a provider of images: it pays for words."""
    batch = checked_batch(
        prompts=(order.text,), reuse_within_s=order.reuse_within_s, max_cost_usd=order.max_cost_usd
    )
    now = ledger.now()
    row = RunRow(
        id=opening.run_id, kind=ROUTE, lineage=opening.run_id, state="running", holder=holder(),
        batch_digest=digest_of(order.model_dump_json(include={"text", "user_input"}).encode()),
        provider=speaker.provider, model=speaker.words.name, deployment=opening.deployment,
        total=1, request=order.model_dump_json(), created_at=now, heartbeat_at=now,
    )  # fmt: skip
    run = await ledger.begin_run(
        row, reuse_within_s=order.reuse_within_s, max_cost_usd=order.max_cost_usd
    )
    return Workshop(
        run=run, batch=batch, style=find_style(batch.style_name), routes=(), references=(),
        store=await load_store("default"), ledger=ledger, spool=Spool(settings.home),
        folder=settings.home / "runs" / opening.run_id, output_dir=None,
    )  # fmt: skip
