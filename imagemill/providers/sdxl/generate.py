"""The middle node: a bucket of images drawn in one call, decoded one by one. Runs on the GPU thread."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagemill.errors import ProviderError, RunStopped
from imagemill.providers.sdxl.frame import Bench, Frame

if TYPE_CHECKING:
    import torch

    from imagemill.providers.sdxl.drawer import Drawer

PADDING_SEED = 0


class Generate:
    """Draws. A bucket that is not full is padded with its first image, and the padding dropped.

    Padded, every call of a group has one shape, so that an image does not depend on how many others
    there happened to be (facts/sdxl.md, 0.4).
    """

    name = "generate"
    lane: Literal["threads", "gpu"] = "gpu"

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        """Return the frames with `pixels` and the seconds of each part of the call.

        Args:
            frames: At most as many as their bucket holds, all of one group.
            bench: With the group's checkpoint resident.

        Raises:
            RunStopped: nobody waits for them any more.
            ProviderError: the numbers overflowed.
            torch.OutOfMemoryError: the bucket is too large for this GPU.
        """
        import torch

        drawer = _drawer(bench)
        size = frames[0].group.bucket
        places = [*frames, *[frames[0]] * (size - len(frames))]
        seeds = [frame.seed for frame in frames] + [PADDING_SEED] * (size - len(frames))
        with torch.inference_mode():
            began = time.perf_counter()
            words = _words(drawer, places)
            encoded = time.perf_counter()
            latents = _latents(drawer, places, seeds, bench=bench, words=words)[: len(frames)]
            denoised = time.perf_counter()
            pictures = [_decoded(drawer, each[None], tiled=bench.tiled) for each in latents]
        seconds = {
            "encode_s": round(encoded - began, 4),
            "denoise_s": round(denoised - encoded, 4),
            "decode_s": round(time.perf_counter() - denoised, 4),
        }
        return [
            replace(frame, pixels=picture).with_facts(**seconds)
            for frame, picture in zip(frames, pictures, strict=True)
        ]


def _drawer(bench: Bench) -> "Drawer":
    if bench.drawer is None:
        raise ProviderError("No checkpoint is resident.", remedy="Run the node on the GPU lane.")
    return bench.drawer


def _words(drawer: "Drawer", places: Sequence[Frame]) -> dict[str, Any]:
    """Return the pipeline's embeddings, one row a place. Each is encoded alone and remembered."""
    import torch

    chunks = places[0].group.chunks
    found = [drawer.words(frame.request, chunks=chunks) for frame in places]
    return {
        "prompt_embeds": torch.cat([each.prompt_embeds for each in found]),
        "negative_prompt_embeds": torch.cat([each.negative_embeds for each in found]),
        "pooled_prompt_embeds": torch.cat([each.pooled for each in found]),
        "negative_pooled_prompt_embeds": torch.cat([each.negative_pooled for each in found]),
    }


def _latents(
    drawer: "Drawer", places: Sequence[Frame], seeds: Sequence[int], *,
    bench: Bench, words: dict[str, Any],
) -> "torch.Tensor":  # fmt: skip
    import torch

    group = places[0].group
    pipe = drawer.pipeline(group)

    def after_step(pipe: Any, step: int, _at: Any, kept: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
        pipe._interrupt = bench.stopped()  # noqa: SLF001 - diffusers' own way to stop a call
        bench.stepped(step + 1, pipe.num_timesteps)
        return kept

    drawn = pipe(
        **words, **_guides(places),
        width=places[0].width_px, height=places[0].height_px,
        num_inference_steps=group.steps, guidance_scale=group.guidance,
        # On the CPU, so that a seed is the same picture on every machine's GPU but for rounding;
        # one generator an image: with one for all, image 2 has no seed of its own.
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        callback_on_step_end=after_step, output_type="latent", return_dict=False,
    )  # fmt: skip
    if bench.stopped():
        raise RunStopped("Nobody waited for this image any more.", remedy="Ask for it again.")
    latents: torch.Tensor = drawn[0]
    return latents


def _guides(places: Sequence[Frame]) -> dict[str, Any]:
    """Return what is shown to the model besides words, by the names its pipeline uses."""
    group = places[0].group
    maps, starts = [each.control for each in places], [each.start for each in places]
    guides: dict[str, Any] = {}
    if group.strength is not None:
        guides.update(image=starts, strength=group.strength)
    if group.control != "none":
        name = "control_image" if group.strength is not None else "image"
        guides.update({name: maps, "controlnet_conditioning_scale": group.control_scale})
    return guides


def _decoded(
    drawer: "Drawer", latents: "torch.Tensor", *, tiled: bool
) -> NDArray[np.uint8]:  # fmt: skip
    """Return H x W x 3. One image a call: a whole bucket at once is the peak of all memory."""
    import torch

    vae = drawer.vae
    vae.use_tiling = tiled
    scaled = (latents / vae.config.scaling_factor).to(vae.dtype)
    picture = vae.decode(scaled, return_dict=False)[0][0].float()
    if not bool(torch.isfinite(picture).all()):
        raise ProviderError(
            "The picture is not a number anywhere it should be: the VAE overflows in half precision.",
            remedy="Configure madebyollin's sdxl-vae-fp16-fix as the VAE, or dtype bfloat16.",
        )
    scaled_up = (picture / 2 + 0.5).clamp(0, 1) * 255
    pixels: NDArray[np.uint8] = scaled_up.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return pixels
