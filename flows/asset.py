"""Game assets: a list and a style guide in, judged and improved pictures with alpha out."""

from asyncio import gather
from typing import Any

from blocks.studio import open_studio
from blocks.workshop import Opening
from flows.asset_form import (
    AssetRequests,
    Guide,
    Judge,
    KeepIntermediate,
    MaxIterations,
    OutputFolder,
    PointWorth,
    Refiner,
    Segmenter,
    TargetScore,
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
from imagemill.asset.order import AssetOrder, checked_order
from imagemill.asset.publishing import AssetsResult
from imagemill.asset.request import StyleGuide
from tasks.announcing import announce
from tasks.asset_showing import show_assets
from tasks.assets import make_assets, publish_run_of_assets
from tasks.limits import provider_places
from tasks.naming import assets_run_name, deployment_name, run_id
from tasks.showing import progress_shown
from tasks.stopping import gentle_stop


@batch_flow(
    name="generate-assets",
    flow_run_name=assets_run_name,
    # Prefect logs all parameters when they do not validate; `checked_order` never shows words.
    validate_parameters=False,
    persist_result=False,
)
async def generate_assets(
    requests: AssetRequests,
    style_guide: Guide = StyleGuide(),  # noqa: B008 - frozen
    target_score: TargetScore = 90,
    max_iterations: MaxIterations = 5,
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
    reuse_within_s: ReuseWithin = 900,
    webhook: Webhook = "",
    seed: Seed = None,
    safety: SafetyLevel = "block_few",
    point_worth_usd: PointWorth = 0.01,  # type: ignore[assignment]  # a number in the form
    fallback: Fallback = None,
    resend_ambiguous: ResendAmbiguous = False,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Make game assets: each drawn, cut out, checked, judged and improved until it is good enough.

    The best picture of each asset is delivered, with its whole history. Pictures, judgements and
    refined prompts are paid for once: starting the same assets again costs nothing.

    Args:
        requests: The assets, 1 to 1,000, each with an id, a category (its folder), a name (its
            file), a description, and if you like a size, a purpose and parameters.
        style_guide: The look they share: art style (pixel_art, hand_drawn or ui), palette, pixel
            density, mood and constraints.
        target_score: An asset is done at this score, 0 to 100. The pixel judge gives 89 at most
            and then stops there.
        max_iterations: Most pictures of one asset, 1 to 20.
        max_concurrent: Most assets at work at any moment, 1 to 100.
        max_cost_usd: The most this run, and what continues it, may cost: pictures, judgements and
            refinements. Empty is no limit of its own.
        provider: Who draws: gemini (needs GOOGLE_API_KEY), comfyui (your own server), sdxl
            (your own GPU), sketch (embedded drawings, free), or KIND/NAME of a saved block.
        model: A name that the command "imagemill models" shows; empty for the provider's default.
        judge: Who looks at the pictures: auto (Gemini where there is a key, else pixels), pixels
            (technical checks alone, free), gemini or gemini:MODEL, openai (the configured
            compatible server), or KIND/NAME of a saved block.
        refiner: Who words the next prompt: auto, rules (free), or as for the judge.
        segmenter: Who finds the subject before a busy background: auto (u2netp where it is
            installed), none, u2netp, or rembg:MODEL.
        store: Name of an Artifact Store block; "default" is the local or configured one.
        output_dir: The folder for category/name.png and category/name.json.
        keep_intermediate: Also keep every iteration's picture there, as it came and cut out.
        reuse_within_s: Pictures and answers paid at most this many seconds ago, 0 to a year, are
            used again, for nothing. A run that crashed uses all its own, however old.
        webhook: An https address, or the name of a Webhook Endpoint block, that is told the end.
        seed: 0 to 2,147,483,647: fixes the noise where the model allows it.
        safety: How much the provider's filter refuses.
        point_worth_usd: What a point of score is worth: the loop stops when the points to be
            expected are worth less than the next picture. Empty never stops for that.
        fallback: Who draws, in this order, what the provider cannot.
        resend_ambiguous: Pay for another attempt where an answer was lost on the way.

    Returns:
        Totals, `cost_summary`, and `results` in input order, each with `requestId`, `status`,
        `image` and `metadata`, or `error` (docs/assets.md).

    Raises:
        RequestError: the assets cannot be made as asked; nothing was sent.
    """
    order = checked_order(**_given(locals()))
    result = await made(order, Opening(run_id(), deployment_name()))
    return ended(result.batch, result.to_json(), noun="assets")


async def made(order: AssetOrder, opening: Opening) -> AssetsResult:
    """Make the assets, from the first request to the webhook; how it went is in the result."""
    async with (
        gentle_stop(),
        open_studio(order, opening) as studio,
        provider_places(studio.shop),
        progress_shown(studio.shop),
    ):
        made_ones = await make_assets(studio)
        result = await publish_run_of_assets(studio.shop.run.id, made_ones)
        _, told = await gather(show_assets(result), announce(result.batch))
    return result.model_copy(update={"batch": result.batch.model_copy(update={"webhook": told})})


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the flow's parameters as the order takes them."""
    return {**parameters, "fallback": tuple(parameters["fallback"] or ())}
