"""Opens a run of assets: a workshop whose images are thought of on the way, and who judges them.

Everything here happens before the first picture is paid.
"""

from asyncio import gather, to_thread
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from blocks.routes import key_problems, open_routes
from blocks.segmenters import NOTE_NONE, load_segmenter
from blocks.settings import Settings
from blocks.speakers import load_speaker
from blocks.store import load_store
from blocks.webhook import load_endpoint
from blocks.workshop import Opening
from imagemill.asking import Speaker
from imagemill.asset.judge import PIXEL_CAP
from imagemill.asset.order import AssetOrder
from imagemill.asset.planning import benches_of, check_first_turns
from imagemill.asset.studio import Studio, at_work
from imagemill.bills import recall_bills
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.holder import holder
from imagemill.looks import Look, Looks
from imagemill.pack.planning import PackRun
from imagemill.prompt import find_style
from imagemill.providers.base import Capabilities
from imagemill.spool import Spool, check_output_folder
from imagemill.transparency import Segmenter
from imagemill.workshop import Progress, Workshop, opened

ASSETS, PACK = "assets", "pack"
"""Kinds of runs: what the ledger keeps of one is an `AssetOrder`, or a `PackRun`."""


@asynccontextmanager
async def open_studio(
    order: AssetOrder,
    opening: Opening,
    *,
    pack: PackRun | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[Studio]:
    """Build the parts of a run, check everything that can be checked for nothing, and open it.

    Args:
        order: The pictures that are thought of at once.
        opening: Which run it is.
        pack: What the order is a part of, for whoever resumes the run.
        settings: Default: from the environment.

    Raises:
        ImagemillError: what is wrong and what to do; nothing was paid and no run was begun.
    """
    settings = settings or Settings()
    batch = order.batch()
    style = find_style(batch.style_name, settings.styles_dir)
    async with AsyncExitStack() as parts:
        routes = await open_routes(
            batch, Looks(Look(style)), settings=settings, parts=parts, known=False
        )
        benches = benches_of(order, routes[0].capabilities)
        await to_thread(check_first_turns, order, benches, routes)
        judge, refiner = await _speakers(order, settings, parts)
        segmenter = load_segmenter(order.segmenter, settings)
        spool = Spool(settings.home)
        spool.check()
        endpoint = await load_endpoint(order.webhook, settings) if order.webhook else None
        store = await load_store(order.store)
        _, problems = await gather(store.check(), key_problems(routes))
        if len(problems) == len(routes):  # nobody can be asked: no asset could even be begun
            raise problems[0][1]
        output_dir = _output_folder(order)
        ledger = open_ledger(settings.ledger_url)
        parts.callback(ledger.close)
        shop = Workshop(
            run=await _begin(ledger, order, opening, routes[0].capabilities, pack=pack),
            batch=batch, style=style, routes=routes, references=(), store=store, ledger=ledger,
            spool=spool, output_dir=None, endpoint=endpoint,
            folder=settings.home / "runs" / opening.run_id,
        )  # fmt: skip
        await recall_bills(shop)
        shop.progress = Progress(len(benches), 0, 0, 0, 0, noun=ASSETS)
        for route, problem in problems:
            shop.refuse(route, problem)
        studio = Studio(
            shop=shop, order=order, benches=benches, output_dir=output_dir, judge=judge,
            refiner=refiner, segmenter=segmenter, notes=_notes(order, judge, segmenter),
        )  # fmt: skip
        async with opened(shop):
            with at_work(studio):
                yield studio


def _output_folder(order: AssetOrder) -> Path:
    folder = Path(order.output_dir).expanduser().absolute()
    check_output_folder(folder)
    return folder


async def _speakers(
    order: AssetOrder, settings: Settings, parts: AsyncExitStack
) -> tuple[Speaker | None, Speaker | None]:
    judge = await load_speaker(order.judge, settings, role="judge", provider=order.provider)
    refiner = await load_speaker(order.refiner, settings, role="refiner", provider=order.provider)
    for speaker in (judge, refiner):
        if speaker:
            parts.push_async_callback(speaker.words.aclose)
    return judge, refiner


def _notes(
    order: AssetOrder, judge: Speaker | None, segmenter: Segmenter | None
) -> tuple[str, ...]:
    """Return what the asker should know of how it was done."""
    notes = []
    if judge is None:
        notes.append("Judged by pixels: what a picture shows was not assessed.")
        if order.target_score > PIXEL_CAP:
            notes.append(
                f"The target of {order.target_score:g} is beyond the pixel judge, whose highest "
                f"score is {PIXEL_CAP:g}: the loop stops there."
            )
    if segmenter is None and order.style_guide.constraints.transparent_background:
        notes.append(NOTE_NONE)
    return tuple(notes)


async def _begin(
    ledger: Ledger,
    order: AssetOrder,
    opening: Opening,
    capabilities: Capabilities,
    *,
    pack: PackRun | None,
) -> RunRow:
    now, run_id = ledger.now(), opening.run_id
    row = RunRow(
        id=run_id, kind=PACK if pack else ASSETS, lineage=run_id, batch_digest=order.digest, state="running",
        holder=holder(), provider=capabilities.provider, model=capabilities.model,
        deployment=opening.deployment, total=pack.pack.pictures if pack else len(order.requests),
        request=(pack or order).model_dump_json(), created_at=now, heartbeat_at=now,
    )  # fmt: skip
    return await ledger.begin_run(
        row, continues=opening.continues, reuse_within_s=order.reuse_within_s,
        max_cost_usd=order.max_cost_usd,
    )  # fmt: skip
