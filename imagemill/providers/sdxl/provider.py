"""SDXL on this machine, as a provider: what it can do, what it needs, and one image from the engine."""

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.diffusion import Control, Diffusion, DiffusionWish, LoraUse
from imagemill.errors import ImagemillError, ProviderMisconfigured, UnsupportedRequest
from imagemill.providers.base import Capabilities, GeneratedImage
from imagemill.providers.sdxl.buckets import bucket_sizes, group_of, order
from imagemill.providers.sdxl.engines import engine_of, running_engine
from imagemill.providers.sdxl.files import check_checkpoint, check_part, digest_of_weights
from imagemill.providers.sdxl.frame import Frame
from imagemill.providers.sdxl.loading import place_of
from imagemill.providers.sdxl.options import SdxlOptions
from imagemill.providers.sdxl.showing import progress, table
from imagemill.providers.sdxl.sizes import RATIOS_1K, SIDES_PX
from imagemill.providers.sdxl.tally import EngineReport
from imagemill.providers.sdxl.ticket import Ticket
from imagemill.request import ImageRequest

if TYPE_CHECKING:
    from imagemill.providers.sdxl.prompting import Tokenizers

TIMEOUT_S = 1_800.0
"""Longest wait for one image, its place in the queue and a checkpoint from a slow disk included."""

PROMPT_LIMIT_CHARS = 8_000
"""About 25 chunks of 75 tokens. Longer words are no better understood; they are refused, never cut."""

RECIPE = 1
"""Raised when the same request would be another picture: it is in the key."""


class SdxlProvider:
    """Draws by SDXL checkpoints on this machine's GPU, or slowly on its CPU. Costs nothing an image.

    Args:
        options: Which files, which device.
        digests: Where the digests of weight files are remembered.
    """

    name = "sdxl"

    def __init__(self, options: SdxlOptions, *, digests: Path) -> None:
        self._options = options
        self._digests = digests

    def capabilities(self, model: str = "") -> Capabilities:
        """Return what a checkpoint can do; "" is the first configured one.

        Raises:
            UnsupportedRequest: no checkpoint of that name.
        """
        return Capabilities(
            provider=self.name, model=self._options.named(model),
            sizes=dict.fromkeys(SIDES_PX, Decimal(0)), default_size="1K",
            aspect_ratios=tuple(RATIOS_1K), prompt_limit_chars=PROMPT_LIMIT_CHARS,
            seed=True, negative_prompt=True, reference_images=1, embedded=True, diffusion=True,
            batch_size=self._options.bucket, timeout_s=TIMEOUT_S,
        )  # fmt: skip

    def model_for(self, checkpoint: str) -> str:
        """Return the configured checkpoint that a style asks for by the beginning of its name.

        Raises:
            UnsupportedRequest: it is not configured.
        """
        try:
            return self._options.named(checkpoint)
        except UnsupportedRequest as error:
            raise UnsupportedRequest(
                f"The style wants a checkpoint called {checkpoint}…: {error.message}",
                remedy=f"{error.remedy} Put it into the models folder, or name another style.",
            ) from error

    async def check_configuration(self) -> None:
        """Make sure that torch, tokenizers and the shared files are there. Checkpoints: `completed`.

        Raises:
            ProviderMisconfigured: names the file and what is wrong with it.
        """
        await asyncio.to_thread(self._check, ())

    def _check(self, models: Iterable[str]) -> None:
        """Check these checkpoints and what all share; another file of the folder may be of any kind."""
        options = self._options
        for model in models:
            file = options.checkpoints[model].file
            check_checkpoint(file, options.config, own_vae=options.vae is None)
        if options.vae is not None:
            check_part(options.vae, what="VAE")
        for kind, file in options.controls.items():
            check_part(file, what=f"{kind} ControlNet")
        if options.depth_model is not None:
            check_part(options.depth_model, what="depth model")
        tokenizers(options.config)
        place_of(options)

    def completed(
        self, requests: Sequence[ImageRequest], wishes: Sequence[DiffusionWish | None]
    ) -> Sequence[ImageRequest]:
        """Return the requests of one run with all that decides their pictures.

        Reads each weight file once in its life (10 to 70 s at 7 GB), to know its digest and that its
        numbers are numbers; call it in a thread.

        Raises:
            UnsupportedRequest: no such LoRA, or no ControlNet for what was asked.
            ProviderMisconfigured: a file is missing, poisoned or of another kind.
        """
        self._check({request.model for request in requests})
        digests = cache(partial(digest_of_weights, cache=self._digests))
        settled = []
        for request, wish in zip(requests, wishes, strict=True):
            how = self._settled(request, wish or DiffusionWish())
            files = self._files(request.model, how)
            weights = {part: digests(file) for part, file in files.items()}
            how = how.model_copy(update={"weights": weights})
            settled.append(request.model_copy(update={"diffusion": how}))
        buckets = bucket_sizes([group_of(each) for each in settled], most=self._options.bucket)
        return [
            each.model_copy(update={"diffusion": _in_bucket(each.diffusion, bucket)})
            for each, bucket in zip(settled, buckets, strict=True)
        ]

    def order(self, requests: Sequence[ImageRequest]) -> Sequence[int]:
        """Return in which order the images are best asked for: grouped, the resident style first."""
        resident = next(iter(self.report().resident), "")
        return order([group_of(each) for each in requests], resident=resident)

    async def generate(
        self, request: ImageRequest, references: Sequence[bytes] = ()
    ) -> GeneratedImage:
        """Draw one image, in a bucket with others of its group. Costs nothing.

        Raises:
            ProviderError: the GPU failed or is too small; `remedy` says which.
            ProviderMisconfigured: a file does not load.
            UnsupportedRequest: outside the capabilities.
        """
        if request.diffusion is None:
            request = (await asyncio.to_thread(self.completed, [request], [None]))[0]
        ticket = await asyncio.to_thread(self._submitted, request, references)
        try:
            frame = await asyncio.wrap_future(ticket.future)
        except asyncio.CancelledError:
            ticket.leave()
            raise
        return generated(frame)

    def _submitted(self, request: ImageRequest, references: Sequence[bytes]) -> Ticket:
        from imagemill.providers.sdxl.prompting import count_chunks

        known = tokenizers(self._options.config)
        chunks = count_chunks(known, request.prompt, negative=request.negative_prompt)
        return engine_of(self._options).submit(request, references, chunks=chunks)

    def report(self) -> EngineReport:
        """Return what the engine of this process did so far; nothing where it was not started."""
        engine = running_engine(self._options)
        return engine.report() if engine else EngineReport()

    def engine_table(self) -> list[dict[str, str]]:
        """Return the report as rows of `what` and `figure`."""
        return table(self.report())

    def engine_progress(self) -> tuple[float, str]:
        """Return where the call under way is, 0 to 100 %, and in words."""
        return progress(self.report())

    async def aclose(self) -> None:
        """Nothing to release: the engine stays warm for the next run of this process."""

    def _settled(self, request: ImageRequest, wish: DiffusionWish) -> Diffusion:
        options = self._options
        checkpoint = options.checkpoints[request.model]
        control = self._control(wish, guided=bool(request.references))
        strength = wish.strength
        if request.references and control == "none" and strength is None:
            strength = options.strength
        if wish.strength is not None and not request.references:
            raise UnsupportedRequest(
                "A strength was given and no reference image to start from.",
                remedy="Give a reference image, or leave the strength out.",
            )
        steps = wish.steps or checkpoint.steps
        if strength is not None and int(steps * strength) < 1:
            raise UnsupportedRequest(
                f"Of {steps} steps a strength of {strength} leaves none.",
                remedy="Raise the steps or the strength.",
            )
        scale = options.control_scale if wish.control_scale is None else wish.control_scale
        return Diffusion(
            steps=steps,
            guidance=checkpoint.guidance if wish.guidance is None else wish.guidance,
            sampler=wish.sampler or checkpoint.sampler,
            control=control, control_scale=scale if control != "none" else 1.0,
            strength=strength, recipe=RECIPE,
            loras=tuple(LoraUse.read(each) for each in wish.loras),
        )  # fmt: skip

    def _control(self, wish: DiffusionWish, *, guided: bool) -> Control:
        """Return what is kept of a reference: as asked, as configured, else its edges if that can be."""
        asked = wish.control or self._options.control
        if not guided:
            if wish.control not in (None, "none"):
                raise UnsupportedRequest(
                    f"Control by {wish.control} was asked for, and no reference image was given.",
                    remedy="Give a reference image, or leave the control out.",
                )
            return "none"
        if asked is None:
            plain = wish.strength is not None or self._options.control_file("canny") is None
            return "none" if plain else "canny"
        if asked != "none" and self._options.control_file(asked) is None:
            known = ", ".join(self._options.controls) or "none"
            raise UnsupportedRequest(
                f"There is no ControlNet for {asked}; configured: {known}.",
                remedy="Configure one, or choose control none, which starts from the picture itself.",
            )
        return asked

    def _files(self, model: str, how: Diffusion) -> dict[str, Path]:
        """Return the weight files that draw, by part; their digests are in the key."""
        options = self._options
        files = {"checkpoint": options.checkpoints[model].file}
        if options.vae is not None:
            files["vae"] = options.vae
        if (net := options.control_file(how.control)) is not None:
            files["control"] = net
        if how.control == "depth" and options.depth_model is not None:
            files["depth"] = options.depth_model
        for lora in how.loras:
            if lora.name not in options.loras:
                known = ", ".join(options.loras) or "none"
                raise UnsupportedRequest(
                    f"There is no LoRA {lora.name[:60]!r}.", remedy=f"Configured: {known}."
                )
            files[f"lora:{lora.name}"] = options.loras[lora.name]
            check_part(options.loras[lora.name], what=f"LoRA {lora.name}")
        return files


def _in_bucket(how: Diffusion | None, bucket: int) -> Diffusion | None:
    return how.model_copy(update={"bucket": bucket}) if how else None


def generated(frame: Frame) -> GeneratedImage:
    """Return a drawn frame as every provider answers, with its timings as facts."""
    how = frame.request.diffusion
    timings = {f"{name}_s": seconds for name, seconds in frame.seconds.items()}
    settings: dict[str, str | int | float] = {}
    if how is not None:
        settings = {"steps": how.steps, "guidance": how.guidance, "sampler": how.sampler}
    return GeneratedImage(
        data=frame.data, media_type="image/png", cost_usd=Decimal(0), model=frame.request.model,
        seed=frame.seed, facts={**settings, **frame.facts, **timings},
    )  # fmt: skip


@cache
def tokenizers(config: Path) -> "Tokenizers":
    """Return the tokenizers of a config folder, which count a prompt's chunks. Read once.

    Raises:
        ProviderMisconfigured: the folder has none, or transformers is not installed.
    """
    try:
        from imagemill.providers.sdxl.prompting import Tokenizers

        return Tokenizers.read(config)
    except ImagemillError:
        raise
    except Exception as error:  # transformers raises what the broken file leads to
        raise ProviderMisconfigured(
            f"The tokenizers of {config} do not load ({type(error).__name__}).",
            remedy="Run `make setup-gpu`, or give a config folder with both tokenizers.",
        ) from error
