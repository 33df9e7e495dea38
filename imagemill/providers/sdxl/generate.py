"""The middle node: a bucket of images drawn in one call, decoded one by one. Runs on the GPU thread."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagemill.errors import ImagemillError, ProviderError, RunStopped
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
            encoded = _clock(words["prompt_embeds"])
            latents = _latents(drawer, places, seeds, bench=bench, words=words)[: len(frames)]
            denoised = _clock(latents)
            with _decoding(drawer.vae, latents, tiled=bench.tiled):
                pictures = [_decoded(drawer.vae, each[None]) for each in latents]
        seconds = {
            "encode_s": round(encoded - began, 4),
            "denoise_s": round(denoised - encoded, 4),
            "decode_s": round(time.perf_counter() - denoised, 4),
        }
        return [
            replace(frame, pixels=picture, failure=None if picture is not None else overflow())
            .with_facts(**seconds)
            for frame, picture in zip(frames, pictures, strict=True)
        ]  # fmt: skip


def overflow() -> ImagemillError:
    """Return what is said of a picture that holds no numbers."""
    return ProviderError(
        "The picture is not a number anywhere it should be: half precision overflows.",
        remedy="Configure madebyollin's sdxl-vae-fp16-fix as the VAE, or dtype bfloat16.",
    )


def _clock(done: "torch.Tensor") -> float:
    """Return the time once a GPU has really got so far: calls come back before their work is done."""
    import torch

    if done.is_cuda:
        torch.cuda.synchronize(done.device)
    return time.perf_counter()


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
        **words, **_guides(places, mode=drawer.union_mode(group.control)),
        width=places[0].width_px, height=places[0].height_px,
        num_inference_steps=group.steps, guidance_scale=group.guidance,
        # On the CPU, so that a seed is the same picture on every machine's GPU but for rounding;
        # one generator an image: with one for all, image 2 has no seed of its own.
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        callback_on_step_end=after_step, output_type="latent", return_dict=False,
    )  # fmt: skip
    if bench.stopped():
        raise RunStopped("Stopped: nobody waits for it any more.", remedy="Ask for it again.")
    latents: torch.Tensor = drawn[0]
    return latents


def _guides(places: Sequence[Frame], *, mode: int | None) -> dict[str, Any]:
    """Return what is shown to the model besides words, by the names its pipeline uses.

    Args:
        places: One group's.
        mode: What a union ControlNet is told; None for another.
    """
    group = places[0].group
    maps, starts = [each.control for each in places], [each.start for each in places]
    guides: dict[str, Any] = {}
    if group.strength is not None:
        guides.update(image=starts, strength=group.strength)
    if group.control != "none" and mode is not None:
        guides.update(control_image=[maps], control_mode=[mode])
        guides.update(controlnet_conditioning_scale=group.control_scale)
    elif group.control != "none":
        name = "control_image" if group.strength is not None else "image"
        guides.update({name: maps, "controlnet_conditioning_scale": group.control_scale})
    return guides


@contextmanager
def _decoding(vae: Any, latents: "torch.Tensor", *, tiled: bool) -> Iterator[None]:  # noqa: ANN401
    """Make the VAE ready: in float32 where half precision overflows, in tiles where asked for.

    The rule for float32 is diffusers' own. Tiles are half as wide as the picture: those a VAE comes
    with are as large as SDXL's usual picture, so that they would change nothing.
    """
    import torch

    dtype, was = vae.dtype, (vae.tile_latent_min_size, vae.tile_sample_min_size)
    if dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)  # and back: exact, so that the next picture has the same weights
    if tiled:
        side = max(2, -(-max(latents.shape[-2:]) // 2))
        vae.use_tiling = True
        vae.tile_latent_min_size = side
        vae.tile_sample_min_size = side * 2 ** (len(vae.config.block_out_channels) - 1)
    try:
        yield
    finally:
        vae.to(dtype)
        vae.use_tiling = False  # it would tile the encoding of the next reference image too
        vae.tile_latent_min_size, vae.tile_sample_min_size = was


def _decoded(vae: Any, latents: "torch.Tensor") -> NDArray[np.uint8] | None:  # noqa: ANN401
    """Return H x W x 3, or None where numbers overflowed.

    One image a call: a whole bucket at once is the peak of all memory.
    """
    import torch

    scaled = latents.to(vae.dtype) / vae.config.scaling_factor
    picture = vae.decode(scaled, return_dict=False)[0][0].float()
    if not bool(torch.isfinite(picture).all()):
        return None
    scaled_up = (picture / 2 + 0.5).clamp(0, 1) * 255
    pixels: NDArray[np.uint8] = scaled_up.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return pixels
