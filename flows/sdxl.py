"""A batch by SDXL on the worker's own GPU: the same job, with a diffusion model's own settings."""

import inspect
from typing import Any

from blocks.workshop import Opening
from flows.batch import made
from flows.form import (
    DryRun,
    MaxConcurrent,
    NegativePrompt,
    OutputDir,
    ReuseWithin,
    Samples,
    Seed,
    StoreName,
    StyleName,
    Webhook,
)
from flows.outcome import batch_flow, outcome
from flows.rows_form import Prompts
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
from imagemill.diffusion import DiffusionWish
from imagemill.planning import checked_batch
from imagemill.request import BatchRequest
from tasks.naming import batch_run_name, deployment_name, run_id
from tasks.pricing import price


@batch_flow(
    name="sdxl", flow_run_name=batch_run_name, validate_parameters=False, persist_result=False
)
async def generate_by_sdxl(
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
    max_concurrent: MaxConcurrent = 3,
    dry_run: DryRun = False,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Draw prompts with SDXL checkpoints on this worker's GPU.

    Images are grouped by checkpoint and size and drawn several at once; each checkpoint is loaded
    once. With a reference image its edges are kept (ControlNet), or it is redrawn by a share.

    Args:
        prompts: What to draw, one entry an image, 1 to 10,000; weights as in (words:1.2). From
            Python or the API also rows with a style, seed or shape of their own (docs/sdxl.md).
        style_name: A look from the shelf; Ultra Realistic, Semi Realistic and Anime name the
            checkpoint that draws them, every other style is drawn by the first one configured.
        provider: sdxl, or sdxl/NAME of a saved Local SDXL block.
        aspect_ratio: Width to height.
        size: 1K, the default, is what SDXL was trained on.
        seed: 0 to 2,147,483,647; empty takes one from the request itself, so that the same request
            is the same picture again.
        samples: How many different images to make of each prompt, 1 to 16.
        negative_prompt: What the images should not show.
        reference_image: Path or https address of an image to be guided by; empty draws from words.
        control: What is kept of the reference: its edges (canny), its depth, or none of it; empty is
            edges where a ControlNet for them is configured.
        control_scale: How firmly it is kept, 0 to 2.
        strength: How much of the reference is drawn anew, above 0 to 1; empty with a ControlNet
            starts from noise.
        steps: Denoising steps, 1 to 150; empty is the checkpoint's own number.
        guidance: How closely the words are followed, 0 to 30.
        sampler: Name of the sampler; empty is the checkpoint's own.
        loras: LoRAs of the models folder by name, each with a weight if not 1, as in ink:0.8.
        store: Name of an Artifact Store block.
        webhook: An https address, or the name of a Webhook Endpoint block.
        output_dir: A folder that also gets the files, under readable names.
        reuse_within_s: An equal image made at most this many seconds ago is used again.
        max_concurrent: How many buckets of images are under way: one being drawn, others prepared.
        dry_run: Only say what would be drawn and what is there already.

    Returns:
        As generate_images_batch does; each image's `facts` say how long each step took.

    Raises:
        RequestError: the batch cannot be made as asked; nothing was drawn.
        ProviderMisconfigured: a checkpoint or another file is missing or broken; nothing was drawn.
    """
    batch = checked_batch(**batch_fields(locals()))
    if dry_run:
        return await price(batch, run_id())
    return outcome(await made(batch, Opening(run_id(), deployment_name())))


def asked_batch(**fields: Any) -> BatchRequest:  # noqa: ANN401 - this flow's parameters
    """Return the batch that this flow would make of its parameters.

    Raises:
        RequestError: it cannot be made as asked.
    """
    bound = inspect.signature(generate_by_sdxl.fn).bind(**fields)
    bound.apply_defaults()
    return checked_batch(**batch_fields(bound.arguments))


def batch_fields(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return this flow's parameters as a batch takes them."""
    given = {name: value for name, value in parameters.items() if name != "dry_run"}
    reference = given.pop("reference_image")
    wish = {
        name: value
        for name in DiffusionWish.model_fields
        if (value := given.pop(name)) not in (None, "")
    }
    return {**given, "references": (reference,) if reference else (), "diffusion": wish or None}
