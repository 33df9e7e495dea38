"""Opens a run: blocks become live parts, the batch is checked against them, the run row is written.

Everything here happens before the first image is paid.
"""

import os
from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from blocks.routes import key_problems, open_routes
from blocks.settings import Settings
from blocks.store import load_store
from blocks.webhook import load_endpoint
from imagemill.intake import ReferenceImage, load_reference
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.holder import holder
from imagemill.netguard import Guard
from imagemill.prompt import find_style
from imagemill.providers.base import Capabilities
from imagemill.request import BatchRequest
from imagemill.spool import Spool, check_output_folder
from imagemill.style_lock import pin_to_paid
from imagemill.workshop import Workshop, opened


@asynccontextmanager
async def open_workshop(
    batch: BatchRequest, *, run_id: str, settings: Settings | None = None
) -> AsyncIterator[Workshop]:
    """Build the parts of a run, check everything that can be checked for nothing, and open it.

    Raises:
        ImagemillError: what is wrong and what to do; nothing was paid and no run was begun.
    """
    settings = settings or Settings()
    style = find_style(batch.style_name, settings.styles_dir)
    async with AsyncExitStack() as parts:
        references = await _references(batch, settings)
        digests = [each.digest for each in references]
        routes = await open_routes(batch, style, digests, settings=settings, parts=parts)
        spool, output_dir = _checked_folders(batch, settings)
        endpoint = await load_endpoint(batch.webhook, settings) if batch.webhook else None
        store = await load_store(batch.store)
        _, problems = await gather(store.check(), key_problems(routes))
        ledger = open_ledger(settings.ledger_url)
        parts.callback(ledger.close)
        shop = Workshop(
            run=await _begin(ledger, batch, run_id=run_id, capabilities=routes[0].capabilities),
            batch=batch, style=style, routes=routes,
            references=tuple(r.data for r in references), store=store, ledger=ledger,
            spool=spool, output_dir=output_dir, endpoint=endpoint,
            folder=output_dir or settings.home / "runs" / run_id,
        )  # fmt: skip
        await pin_to_paid(shop)
        for route, problem in problems:
            shop.refuse(route, problem)
        async with opened(shop):
            yield shop


async def _references(batch: BatchRequest, settings: Settings) -> list[ReferenceImage]:
    """Read the reference images, each redrawn as plain pixels, from allowed folders or the web."""
    roots = [Path(folder) for folder in settings.reference_roots.split(os.pathsep) if folder]
    return [await load_reference(source, roots, guard=Guard()) for source in batch.references]


def _checked_folders(batch: BatchRequest, settings: Settings) -> tuple[Spool, Path | None]:
    spool = Spool(settings.home)
    spool.check()
    output_dir = Path(batch.output_dir).expanduser().absolute() if batch.output_dir else None
    if output_dir:
        check_output_folder(output_dir)
    return spool, output_dir


async def _begin(
    ledger: Ledger, batch: BatchRequest, *, run_id: str, capabilities: Capabilities
) -> RunRow:
    now = ledger.now()
    row = RunRow(
        id=run_id, kind="batch", lineage=run_id, batch_digest=batch.digest, state="running",
        holder=holder(), provider=capabilities.provider, model=capabilities.model,
        total=len(batch.prompts) * batch.samples, request=batch.model_dump_json(),
        created_at=now, heartbeat_at=now,
    )  # fmt: skip
    return await ledger.begin_run(row)
