"""The main job: a batch of prompts in, paid-once images, a contact sheet and a webhook out."""

from asyncio import gather
from typing import Any

from prefect.utilities.annotations import quote

from blocks.workshop import Opening, open_workshop
from flows.form import (
    AspectRatio,
    Budget,
    DryRun,
    Fallback,
    MaxConcurrent,
    ModelName,
    NegativePrompt,
    OutputDir,
    ProviderName,
    References,
    ResendAmbiguous,
    ReuseWithin,
    SafetyLevel,
    Samples,
    Seed,
    Size,
    StoreName,
    StyleLock,
    StyleName,
    Webhook,
)
from flows.outcome import batch_flow, outcome
from flows.rows_form import DiffusionSettings, Prompts
from imagemill.planning import checked_batch
from imagemill.request import BatchRequest, BatchResult
from tasks.announcing import announce
from tasks.gpu import gpu_shown
from tasks.images import draw_images
from tasks.limits import provider_places
from tasks.naming import batch_run_name, deployment_name, run_id
from tasks.pricing import price
from tasks.publishing import publish
from tasks.showing import progress_shown, show
from tasks.stopping import gentle_stop


@batch_flow(
    name="generate-images-batch",
    flow_run_name=batch_run_name,
    # Prefect logs all parameters when they do not validate; `checked_batch` never shows a prompt.
    validate_parameters=False,
    persist_result=False,
)
async def generate_images_batch(
    prompts: Prompts,
    style_name: StyleName = "Flat Corporate",
    max_concurrent: MaxConcurrent = 3,
    provider: ProviderName = "gemini",
    model: ModelName = "",
    store: StoreName = "default",
    aspect_ratio: AspectRatio = "1:1",
    size: Size = "",
    seed: Seed = None,
    samples: Samples = 1,
    negative_prompt: NegativePrompt = "",
    safety: SafetyLevel = "block_few",
    references: References = None,
    webhook: Webhook = "",
    output_dir: OutputDir = "",
    reuse_within_s: ReuseWithin = 900,
    resend_ambiguous: ResendAmbiguous = False,
    max_cost_usd: Budget = None,
    dry_run: DryRun = False,
    fallback: Fallback = None,
    style_lock: StyleLock = False,
    diffusion: DiffusionSettings = None,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Turn prompts into images: each paid for once, stored, shown and announced.

    One failed image never fails the batch. Starting a batch again that crashed or was stopped
    finishes it; what is paid already costs nothing.

    Args:
        prompts: What to draw, one entry an image, 1 to 10,000. The same words twice make two
            different images. Rows are prompts with settings of their own; what a row leaves open
            is as for the batch. The menu ⋮ takes a long list as JSON.
        style_name: A look from the shelf, or the name of one in your own styles folder.
        max_concurrent: Most calls on the wire at any moment, 1 to 100; an image each, but for local
            models that draw several by one call.
        provider: Who draws: gemini (needs GOOGLE_API_KEY), comfyui (your own server), sdxl
            (your own GPU), sketch (embedded drawings, free), or KIND/NAME of a saved block.
        model: A name that the command "imagemill models" shows; empty for the provider's default.
        store: Name of an Artifact Store block; "default" is the local or configured one.
        aspect_ratio: Width to height.
        size: 1K is 1024 x 1024 pixels or the same area; empty for the model's default.
        seed: 0 to 2,147,483,647: fixes the noise, so that the same request gives the same image
            where the model allows it. Empty leaves it to the provider.
        samples: How many different images to make of each prompt, 1 to 16.
        negative_prompt: What the images should not show.
        safety: How much the provider's filter refuses.
        references: Paths or https addresses of up to 14 images to be guided by, for models that
            take them.
        webhook: An https address, or the name of a Webhook Endpoint block, that is told when the
            batch ends.
        output_dir: A folder that also gets the files, under readable names.
        reuse_within_s: An equal image made at most this many seconds ago, 0 to a year, is used
            again, for nothing. A batch that crashed uses all its own images, however old.
        resend_ambiguous: Pay for another attempt where an answer was lost on the way.
        max_cost_usd: The most this run, and what continues it, may cost. At the ceiling what is on
            the wire comes in and the rest is not started. Empty is no limit of its own.
        dry_run: Only say what it would cost: nothing is sent, stored or paid.
        fallback: Who draws, in this order, what the provider cannot: up to 4 of gemini, sketch,
            KIND/NAME of a saved block, each with :MODEL after it if not the default. An image
            moves on when its provider is away, overloaded, out of quota or refuses the key.
        style_lock: All images of this batch come from one model. With a fallback, the first one
            that draws an image draws them all; what it cannot draw fails.
        diffusion: Steps, sampler, LoRAs and the like, for providers that draw with a checkpoint of
            yours, such as sdxl.

    Returns:
        `total`, `success_count`, `failure_count` and `results` in input order, each with `prompt`,
        `success` and `local_path` or `error`, and what was paid (docs/result.md).

    Raises:
        RequestError: the batch cannot be made as asked; nothing was sent.
    """
    batch = checked_batch(**_given(locals()))
    if dry_run:
        return await price(batch, run_id())
    return outcome(await made(batch, Opening(run_id(), deployment_name())))


async def made(batch: BatchRequest, opening: Opening) -> BatchResult:
    """Make a batch, from the first request to the webhook; how it went is in the result."""
    async with gentle_stop():
        return await made_here(batch, opening)


async def made_here(batch: BatchRequest, opening: Opening) -> BatchResult:
    """Do what `made` does in a process that has its own way to end, and may have other runs."""
    async with (
        open_workshop(batch, opening) as shop,
        provider_places(shop),
        progress_shown(shop),
        gpu_shown(shop),
    ):
        await draw_images(shop)
        result = await publish(shop.run.id)
        whole: Any = quote(result)  # so that Prefect does not look for futures in every image
        _, told = await gather(show(whole), announce(whole))
    return result.model_copy(update={"webhook": told})


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the flow's parameters as the batch takes them."""
    asked = {name: value for name, value in parameters.items() if name != "dry_run"}
    lists = {name: tuple(asked[name] or ()) for name in ("references", "fallback")}
    return {**asked, **lists, "diffusion": asked["diffusion"] or None}
