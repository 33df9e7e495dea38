"""A batch by SDXL on several GPUs: planned here, drawn by the workers, shown here as one."""

from asyncio import gather
from typing import Annotated, Any

from prefect.utilities.annotations import quote

from blocks.workshop import Opening, open_workshop
from flows.form import (
    NegativePrompt,
    OutputDir,
    ReuseWithin,
    Samples,
    Seed,
    StoreName,
    StyleName,
    Webhook,
    titled,
)
from flows.outcome import batch_flow, outcome
from flows.rows_form import Prompts
from flows.sdxl import asked_batch
from flows.sdxl_form import (
    ControlKind,
    ControlScale,
    GuidanceScale,
    Loras,
    ReferenceImage,
    SamplerName,
    SdxlName,
    SdxlRatio,
    SdxlSize,
    StepCount,
    StrengthShare,
)
from imagemill.request import BatchRequest, BatchResult
from imagemill.spreading import shares_of
from tasks.announcing import announce
from tasks.naming import batch_run_name, deployment_name, run_id
from tasks.publishing import publish
from tasks.showing import progress_shown, show
from tasks.spreading import draw_shares, gpu_workers
from tasks.stopping import gentle_stop

Workers = Annotated[int, titled("Workers", ge=0, le=100)]


@batch_flow(
    name="sdxl-spread",
    flow_run_name=batch_run_name,
    validate_parameters=False,
    persist_result=False,
)
async def spread_by_sdxl(
    prompts: Prompts,
    style_name: StyleName = "Ultra Realistic",
    provider: SdxlName = "sdxl",
    aspect_ratio: SdxlRatio = "1:1",
    size: SdxlSize = "",
    seed: Seed = None,
    samples: Samples = 1,
    negative_prompt: NegativePrompt = "",
    reference_image: ReferenceImage = "",
    control: ControlKind = "",
    control_scale: ControlScale = None,
    strength: StrengthShare = None,
    steps: StepCount = None,
    guidance: GuidanceScale = None,
    sampler: SamplerName = "",
    loras: Loras = None,
    store: StoreName = "default",
    webhook: Webhook = "",
    output_dir: OutputDir = "",
    reuse_within_s: ReuseWithin = 900,
    workers: Workers = 0,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Draw prompts with SDXL on all GPUs of the pool, each checkpoint on as few of them as can be.

    Each share is a flow run on the pool gpu. When a worker dies another one goes on with its share.
    The other parameters are those of the flow sdxl.

    Args:
        prompts: What to draw, one entry an image, 1 to 10,000.
        style_name: A look from the shelf.
        provider: sdxl, or sdxl/NAME of a saved Local SDXL block.
        aspect_ratio: Width to height.
        size: 1K, the default, is what SDXL was trained on.
        seed: 0 to 2,147,483,647; empty takes one from the request itself.
        samples: How many different images to make of each prompt, 1 to 16.
        negative_prompt: What the images should not show.
        reference_image: Path or https address of an image to be guided by.
        control: What is kept of the reference.
        control_scale: How firmly it is kept, 0 to 2.
        strength: How much of the reference is drawn anew, above 0 to 1.
        steps: Denoising steps, 1 to 150.
        guidance: How closely the words are followed, 0 to 30.
        sampler: Name of the sampler.
        loras: LoRAs of the models folder by name.
        store: Name of an Artifact Store block.
        webhook: An https address, or the name of a Webhook Endpoint block.
        output_dir: A folder that also gets the files, under readable names.
        reuse_within_s: An equal image made at most this many seconds ago is used again.
        workers: Into how many shares the batch is cut; 0 is one for each worker that is online.

    Returns:
        As generate_images_batch does, for the whole batch.

    Raises:
        RequestError: the batch cannot be made as asked; nothing was drawn.
    """
    given = {name: value for name, value in locals().items() if name != "workers"}
    opening = Opening(run_id(), deployment_name())
    return outcome(await _spread(asked_batch(**given), opening, workers=workers))


async def _spread(batch: BatchRequest, opening: Opening, *, workers: int) -> BatchResult:
    """Plan, have it drawn, publish, tell."""
    async with (
        gentle_stop(),
        open_workshop(batch, opening) as shop,
        progress_shown(shop),
    ):
        await draw_shares(shop, shares_of(shop, workers=workers or await gpu_workers()))
        result = await publish(shop.run.id)
        whole: Any = quote(result)  # so that Prefect does not look for futures in every image
        _, told = await gather(show(whole), announce(whole))
    return result.model_copy(update={"webhook": told})
