"""Opens a run: blocks become live parts, the batch is checked against them, the run row is written.

Everything here happens before the first image is paid.
"""

from asyncio import gather
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from blocks.looks import open_looks
from blocks.routes import key_problems, open_routes
from blocks.settings import Settings
from blocks.store import load_store
from blocks.webhook import load_endpoint
from imagemill.bills import recall_bills
from imagemill.cost import Estimate, dearest, estimate
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.holder import holder
from imagemill.ledger.reading import ledger_exists
from imagemill.providers.base import Capabilities
from imagemill.request import BatchRequest
from imagemill.resuming import carried
from imagemill.routing import Route
from imagemill.spool import Spool, check_output_folder
from imagemill.style_lock import pin_to_paid
from imagemill.workshop import Workshop, opened


@dataclass(frozen=True)
class Opening:
    """Which run is opened, and which one it goes on with.

    Attributes:
        run_id: Its id.
        deployment: Whose daily ceiling counts; "" for none.
        continues: Id of the run that it goes on with, however that one ended; "" for none.
        only: Error classes whose images are tried again; none means all that is not delivered.
    """

    run_id: str
    deployment: str = ""
    continues: str = ""
    only: tuple[str, ...] = ()


@asynccontextmanager
async def open_workshop(
    batch: BatchRequest, opening: Opening, *, settings: Settings | None = None
) -> AsyncIterator[Workshop]:
    """Build the parts of a run, check everything that can be checked for nothing, and open it.

    Raises:
        ImagemillError: what is wrong and what to do; nothing was paid and no run was begun.
    """
    settings = settings or Settings()
    looks = await open_looks(batch, settings)
    async with AsyncExitStack() as parts:
        routes = await open_routes(batch, looks, settings=settings, parts=parts)
        spool, output_dir = _checked_folders(batch, settings)
        endpoint = await load_endpoint(batch.webhook, settings) if batch.webhook else None
        store = await load_store(batch.store)
        _, problems = await gather(store.check(), key_problems(routes))
        ledger = open_ledger(settings.ledger_url)
        parts.callback(ledger.close)
        shop = Workshop(
            run=await _begin(ledger, batch, opening, capabilities=routes[0].capabilities),
            batch=batch, style=looks.common.style, routes=routes,
            references=tuple(r.data for r in looks.common.references),
            own_references=looks.guides(batch.samples), store=store, ledger=ledger,
            spool=spool, output_dir=output_dir, endpoint=endpoint,
            folder=output_dir or settings.home / "runs" / opening.run_id,
        )  # fmt: skip
        await pin_to_paid(shop)
        await recall_bills(shop)
        for route, problem in problems:
            shop.refuse(route, problem)
        if opening.only:
            earlier = await ledger.items(opening.continues)
            shop.carried = carried(earlier, opening.only, resend_ambiguous=batch.resend_ambiguous)
        async with opened(shop):
            yield shop


def _checked_folders(batch: BatchRequest, settings: Settings) -> tuple[Spool, Path | None]:
    spool = Spool(settings.home)
    spool.check()
    output_dir = Path(batch.output_dir).expanduser().absolute() if batch.output_dir else None
    if output_dir:
        check_output_folder(output_dir)
    return spool, output_dir


async def _begin(
    ledger: Ledger, batch: BatchRequest, opening: Opening, *, capabilities: Capabilities
) -> RunRow:
    now, run_id = ledger.now(), opening.run_id
    row = RunRow(
        id=run_id, kind="batch", lineage=run_id, batch_digest=batch.digest, state="running",
        holder=holder(), provider=capabilities.provider, model=capabilities.model,
        deployment=opening.deployment,
        total=len(batch.prompts) * batch.samples, request=batch.model_dump_json(),
        created_at=now, heartbeat_at=now,
    )  # fmt: skip
    return await ledger.begin_run(
        row, continues=opening.continues, reuse_within_s=batch.reuse_within_s,
        max_cost_usd=batch.max_cost_usd,
    )  # fmt: skip


async def earlier_run(run_id: str = "", *, settings: Settings | None = None) -> RunRow:
    """Return a run by its id or the beginning of it; "" is the newest that is not complete.

    Raises:
        RequestError: there is none, or more than one begins so.
    """
    settings = settings or Settings()
    ledger = open_ledger(settings.ledger_url)
    try:
        return await ledger.run_to_resume(run_id)
    finally:
        ledger.close()


async def priced(batch: BatchRequest, *, settings: Settings | None = None) -> Estimate:
    """Price a batch: nothing is sent, stored or written. What is paid already costs nothing.

    Raises:
        ImagemillError: the batch cannot be made as asked.
    """
    settings = settings or Settings()
    today = datetime.now(UTC).date()
    async with AsyncExitStack() as parts:
        looks = await open_looks(batch, settings)
        routes = await open_routes(batch, looks, settings=settings, parts=parts)
        paid = await _paid_already(batch, routes, settings)
        found = [
            estimate(r.capabilities, r.requests, paid=paid, today=today, models=r.models)
            for r in routes
        ]
        return dearest(found)


async def _paid_already(
    batch: BatchRequest, routes: Sequence[Route], settings: Settings
) -> set[str]:
    """Return the keys that cost nothing any more: of an image paid at one route, all its keys."""
    if not ledger_exists(settings.ledger_url):
        return set()
    images = [
        set(keys) for keys in zip(*([q.key for q in r.requests] for r in routes), strict=True)
    ]
    ledger = open_ledger(settings.ledger_url)
    try:
        paid = await ledger.paid_keys(
            [key for keys in images for key in keys],
            batch_digest=batch.digest, reuse_within_s=batch.reuse_within_s,
        )  # fmt: skip
    finally:
        ledger.close()
    return paid if batch.style_lock else set().union(*(keys for keys in images if keys & paid))
