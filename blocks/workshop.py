"""Opens a run: blocks become live parts, the batch is checked against them, the run row is written.

Everything here happens before the first image is paid.
"""

import os
from asyncio import gather
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from blocks.provider import load_provider
from blocks.settings import Settings
from blocks.store import load_store
from blocks.webhook import load_endpoint
from imagemill.cost import Estimate, estimate
from imagemill.errors import ProviderError, ProviderMisconfigured
from imagemill.intake import ReferenceImage, load_reference
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.database import ledger_exists
from imagemill.ledger.holder import holder
from imagemill.netguard import Guard
from imagemill.pacing import pacer_of
from imagemill.planning import plan
from imagemill.prompt import find_style
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import BatchRequest, ImageRequest
from imagemill.resuming import carried
from imagemill.spool import Spool, check_output_folder
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
    style = find_style(batch.style_name, settings.styles_dir)
    async with AsyncExitStack() as parts:
        provider = await load_provider(batch.provider, settings)
        parts.push_async_callback(provider.aclose)
        capabilities = provider.capabilities(batch.model)
        references = await _references(batch, settings)
        requests = plan(batch, style, capabilities, references=[r.digest for r in references])
        spool, output_dir = _checked_folders(batch, settings)
        endpoint = await load_endpoint(batch.webhook, settings) if batch.webhook else None
        store = await load_store(batch.store)
        _, key_problem = await gather(store.check(), _key_problem(provider))
        ledger = open_ledger(settings.ledger_url)
        parts.callback(ledger.close)
        shop = Workshop(
            run=await _begin(ledger, batch, opening, capabilities=capabilities),
            batch=batch, style=style, requests=requests,
            references=tuple(r.data for r in references),
            provider=provider, capabilities=capabilities, store=store, ledger=ledger,
            spool=spool, output_dir=output_dir, endpoint=endpoint,
            folder=output_dir or settings.home / "runs" / opening.run_id,
            pacer=pacer_of(provider.name, capabilities.model, capabilities.max_in_flight),
        )  # fmt: skip
        shop.stopped = key_problem
        if opening.only:
            earlier = await ledger.items(opening.continues)
            shop.carried = carried(earlier, opening.only, resend_ambiguous=batch.resend_ambiguous)
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
    return await ledger.begin_run(row, continues=opening.continues, max_cost_usd=batch.max_cost_usd)


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
    style = find_style(batch.style_name, settings.styles_dir)
    provider = await load_provider(batch.provider, settings)
    try:
        capabilities = provider.capabilities(batch.model)
        references = await _references(batch, settings)
        requests = plan(batch, style, capabilities, references=[r.digest for r in references])
        paid = await _paid_already(batch, requests, settings)
        return estimate(capabilities, requests, paid=paid, today=datetime.now(UTC).date())
    finally:
        await provider.aclose()


async def _paid_already(
    batch: BatchRequest, requests: Sequence[ImageRequest], settings: Settings
) -> set[str]:
    if not ledger_exists(settings.ledger_url):
        return set()
    ledger = open_ledger(settings.ledger_url)
    try:
        return await ledger.paid_keys(
            [request.key for request in requests],
            batch_digest=batch.digest, reuse_within_s=batch.reuse_within_s,
        )  # fmt: skip
    finally:
        ledger.close()


async def _key_problem(provider: ImageProvider) -> ProviderMisconfigured | None:
    """Return why nothing can be sent; every image of the run then says so (B10)."""
    try:
        await provider.check_configuration()
    except ProviderMisconfigured as error:
        return error
    except ProviderError:
        return None  # away for a moment: each image's own retries deal with that
    return None
