"""A pack: all its assets and animations in one run, one budget and one page."""

from asyncio import gather
from typing import Any

from blocks.studio import open_studio
from blocks.workshop import Opening
from flows.asset_form import (
    Judge,
    KeepIntermediate,
    MaxRedos,
    OutputFolder,
    OwnIterations,
    OwnTarget,
    PackText,
    PointWorth,
    Refiner,
    Segmenter,
)
from flows.form import (
    Budget,
    Fallback,
    MaxConcurrent,
    ModelName,
    ProviderName,
    ResendAmbiguous,
    ReuseWithin,
    SafetyLevel,
    Seed,
    StoreName,
    Webhook,
)
from flows.outcome import batch_flow, ended
from imagemill.pack.page import check_own_folder
from imagemill.pack.planning import PackRun, checked_pack, order_of
from imagemill.pack.result import PackResult
from tasks.animations import make_animations
from tasks.announcing import announce
from tasks.asset_showing import show_assets
from tasks.assets import make_assets, publish_run_of_assets
from tasks.limits import provider_places
from tasks.naming import deployment_name, pack_run_name, run_id
from tasks.packs import publish_pack, review_pack
from tasks.showing import progress_shown
from tasks.stopping import gentle_stop


@batch_flow(
    name="generate-pack",
    flow_run_name=pack_run_name,
    validate_parameters=False,  # Prefect would log them, and descriptions are prompts
    persist_result=False,
)
async def generate_pack(
    pack: PackText,
    target_score: OwnTarget = None,
    max_iterations: OwnIterations = None,
    max_concurrent: MaxConcurrent = 3,
    max_cost_usd: Budget = None,
    provider: ProviderName = "gemini",
    model: ModelName = "",
    judge: Judge = "auto",
    refiner: Refiner = "auto",
    segmenter: Segmenter = "auto",
    store: StoreName = "default",
    output_dir: OutputFolder = "generated-assets",
    keep_intermediate: KeepIntermediate = False,
    max_redos: MaxRedos = 2,
    reuse_within_s: ReuseWithin = 900,
    webhook: Webhook = "",
    seed: Seed = None,
    safety: SafetyLevel = "block_few",
    point_worth_usd: PointWorth = 0.01,  # type: ignore[assignment]  # a number in the form
    fallback: Fallback = None,
    resend_ambiguous: ResendAmbiguous = False,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Make a pack: assets in one style, animations, how they fit together, and a page of it all.

    Args:
        pack: The pack as YAML text (docs/packs.md), or as its fields.
        target_score: An asset is done at this score; empty is what the pack says.
        max_iterations: Most pictures of one asset; empty is what the pack says.
        max_concurrent: Most assets at work at any moment, 1 to 100.
        max_cost_usd: The most this run may cost: pictures, judgements, refinements, redone frames.
        provider: Who draws: gemini, comfyui (your server), sdxl (your GPU), sketch (embedded drawings, free), or KIND/NAME of a block.
        model: A name that the command "imagemill models" shows; empty for the default.
        judge: Who looks: auto, pixels (free), gemini, openai, or KIND/NAME of a block. One with
            eyes also looks at the whole pack.
        refiner: Who words the next prompt: auto, rules (free), or as for the judge.
        segmenter: Who finds the subject before a busy background: auto, none, u2netp, rembg:MODEL.
        store: Name of an Artifact Store block.
        output_dir: The folder for category/name.png, sprite sheets and report.html.
        keep_intermediate: Also keep every iteration's picture there.
        max_redos: How often a frame that drifts is drawn again at most.
        reuse_within_s: Pictures and answers paid at most this many seconds ago are used again.
        webhook: An https address, or the name of a Webhook Endpoint block, that is told the end.
        seed: Fixes the noise where the model allows it.
        safety: How much the provider's filter refuses.
        point_worth_usd: What a point of score is worth; empty never stops for that.
        fallback: Who draws, in this order, what the provider cannot.
        resend_ambiguous: Pay for another attempt where an answer was lost on the way.

    Returns:
        What the asset flow returns, and `animations`, `consistency`, `page_path` (docs/packs.md).

    Raises:
        RequestError: the pack cannot be made as asked; nothing was sent.
    """
    fields = dict(locals())
    ordered, redos = checked_pack(fields.pop("pack")), fields.pop("max_redos")
    order = order_of(ordered, **{**fields, "fallback": tuple(fallback or ())})
    check_own_folder(order.output_dir, ordered.pack)
    asked = PackRun(pack=ordered, order=order, max_redos=redos)
    result = await made(asked, Opening(run_id(), deployment_name()))
    return ended(result.assets.batch, result.to_json(), noun="assets")


async def made(asked: PackRun, opening: Opening) -> PackResult:
    """Make a pack, from the first request to the webhook; how it went is in the result."""
    pack = asked.pack
    async with (
        gentle_stop(),
        open_studio(asked.order, opening, pack=asked) as studio,
        provider_places(studio.shop),
        progress_shown(studio.shop),
    ):
        stills = await make_assets(studio)
        single = len(pack.requests())
        moving, pictures = await make_animations(
            studio, pack.animated(), single, stills, asked.max_redos
        )
        review = await review_pack(opening.run_id, stills[:single], pack.families())
        assets = await publish_run_of_assets(opening.run_id, pictures)
        result = await publish_pack(opening.run_id, pack.pack, assets, moving, review)
        _, told = await gather(show_assets(assets), announce(assets.batch))
    batch = assets.batch.model_copy(update={"webhook": told})
    return result.model_copy(update={"assets": assets.model_copy(update={"batch": batch})})
