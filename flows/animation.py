"""An animation: the first frame by the asset loop, the others after it, what drifts made again."""

from typing import Any

from blocks.workshop import Opening
from flows.asset_form import (
    FrameCount,
    FrameTime,
    Guide,
    Judge,
    KeepIntermediate,
    MaxIterations,
    MaxRedos,
    Motion,
    OneAsset,
    OutputFolder,
    Poses,
    Refiner,
    Segmenter,
    TargetScore,
)
from flows.form import (
    Budget,
    MaxConcurrent,
    ModelName,
    ProviderName,
    ResendAmbiguous,
    ReuseWithin,
    Seed,
    StoreName,
    Webhook,
)
from flows.outcome import batch_flow, ended
from flows.pack import made
from imagemill.asset.request import StyleGuide
from imagemill.pack.planning import PackRun, order_of, pack_of_one
from tasks.naming import deployment_name, pack_run_name, run_id


@batch_flow(
    name="generate-animation",
    flow_run_name=pack_run_name,
    validate_parameters=False,  # Prefect would log them, and descriptions are prompts
    persist_result=False,
)
async def generate_animation(
    request: OneAsset,
    frames: FrameCount = 6,
    motion: Motion = "idle animation",
    poses: Poses = None,
    frame_ms: FrameTime = 100,
    style_guide: Guide = StyleGuide(),  # noqa: B008 - frozen
    max_redos: MaxRedos = 2,
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
    resend_ambiguous: ResendAmbiguous = False,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Make an animation whose frames belong together: sprite sheet, JSON atlas and GIF.

    The first frame is made by the asset loop. The others are drawn after it, once; frames that
    drift from the set are drawn again, the others never. Everything is on one bill.

    Args:
        request: The figure: id, category, name, description, size.
        frames: How many, 3 to 64.
        motion: What it does, such as "walk cycle, side view".
        poses: What each frame shows, one for each; empty leaves it to the model.
        frame_ms: How long a frame stays.
        style_guide: The look.
        max_redos: How often a frame that drifts is drawn again at most; 0 only measures.
        target_score: The first frame is done at this score.
        max_iterations: Most pictures of the first frame.
        max_concurrent: Most frames at work at any moment.
        max_cost_usd: The most this run may cost, redone frames included.
        provider: Who draws.
        model: Empty for the provider's default.
        judge: Who looks at the first frame.
        refiner: Who words its next prompt.
        segmenter: Who finds the subject before a busy background.
        store: Name of an Artifact Store block.
        output_dir: The folder for category/name_sheet.png, its .json and category/name.gif.
        keep_intermediate: Also keep every iteration's picture there.
        reuse_within_s: Pictures paid at most this many seconds ago are used again.
        webhook: Who is told the end.
        seed: Fixes the noise where the model allows it.
        resend_ambiguous: Pay for another attempt where an answer was lost on the way.

    Returns:
        What the pack flow returns; the animation is the first of `animations`.

    Raises:
        RequestError: it cannot be made as asked; nothing was sent.
    """
    fields = dict(locals())
    moving = {
        name: fields.pop(name)
        for name in ("request", "frames", "motion", "poses", "frame_ms", "style_guide")
    }
    redos = fields.pop("max_redos")
    pack = pack_of_one(**moving)
    order = order_of(pack, **fields)
    asked = PackRun(pack=pack, order=order, max_redos=redos)
    result = await made(asked, Opening(run_id(), deployment_name()))
    return ended(result.assets.batch, result.to_json(), noun="frames")
