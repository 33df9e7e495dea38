"""One resident checkpoint with the parts it shares: what turns embeddings into latents.

Knows diffusers; decides nothing about which checkpoint is resident (`weights`).
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.diffusion import Control, LoraUse
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.buckets import Group
from imagemill.providers.sdxl.samplers import scheduler
from imagemill.request import ImageRequest

if TYPE_CHECKING:
    from imagemill.providers.sdxl.prompting import Encoded, TextParts

OWN = ("unet", "text_encoder", "text_encoder_2")
"""The parts that differ from checkpoint to checkpoint."""

WORDS_KEPT = 64
"""Embeddings remembered a checkpoint: 0.6 MB each at 77 tokens in half precision, the negative's included."""

_CLASSES = {
    (False, False): "StableDiffusionXLPipeline",
    (False, True): "StableDiffusionXLImg2ImgPipeline",
    (True, False): "StableDiffusionXLControlNetPipeline",
    (True, True): "StableDiffusionXLControlNetImg2ImgPipeline",
}
"""By whether a ControlNet guides and whether a picture is started from."""

UNION_MODES: dict[Control, int] = {"depth": 1, "canny": 3}
"""Number of each kind in the union ControlNet (the model card of controlnet-union-sdxl-1.0)."""


@dataclass
class Drawer:
    """A checkpoint in memory.

    Attributes:
        name: Of the checkpoint whose weights are in `parts` now.
        parts: unet, text encoders, tokenizers, vae, scheduler: a diffusers pipeline's components.
        controls: ControlNets that are loaded, by kind; shared by all checkpoints.
        lora_files: LoRA files by name.
        dressed: LoRAs that are in the weights now.
    """

    name: str
    parts: dict[str, Any]
    controls: dict[Control, Any]
    lora_files: dict[str, Path]
    dressed: tuple[LoraUse, ...] = ()
    _pipes: dict[str, Any] = field(default_factory=dict)
    _words: "OrderedDict[tuple[object, ...], Encoded]" = field(default_factory=OrderedDict)

    @property
    def vae(self) -> Any:  # noqa: ANN401 - diffusers' AutoencoderKL
        """The VAE, in its own dtype."""
        return self.parts["vae"]

    @property
    def text_parts(self) -> "TextParts":
        """What turns words into embeddings."""
        from imagemill.providers.sdxl.prompting import TextParts

        names = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
        return TextParts(**{name: self.parts[name] for name in names})

    def modules(self) -> dict[str, Any]:
        """Return the checkpoint's own modules by part."""
        return {name: self.parts[name] for name in OWN}

    def words(self, request: ImageRequest, *, chunks: int) -> "Encoded":
        """Return the embeddings of a request's words, remembered where they were asked for before."""
        from imagemill.providers.sdxl.prompting import encode

        key = (request.prompt, request.negative_prompt, chunks, self.dressed)
        if key not in self._words:
            self._words[key] = encode(
                self.text_parts, request.prompt, negative=request.negative_prompt, chunks=chunks
            )
            if len(self._words) > WORDS_KEPT:
                self._words.popitem(last=False)
        self._words.move_to_end(key)
        return self._words[key]

    def pipeline(self, group: Group) -> Any:  # noqa: ANN401 - one of diffusers' pipelines
        """Return the pipeline for a group, made of the shared parts; never a copy of them.

        `from_pipe` is not used: without a dtype it casts the live modules (facts/sdxl.md, 0.2).
        """
        import diffusers

        control = self.controls[group.control] if group.control != "none" else None
        name = _CLASSES[control is not None, group.strength is not None]
        if self.union_mode(group.control) is not None:
            name = name.replace("ControlNet", "ControlNetUnion")
        if name not in self._pipes:
            more: dict[str, Any] = {} if control is None else {"controlnet": control}
            made = getattr(diffusers, name)(**self.parts, **more, add_watermarker=False)
            made.set_progress_bar_config(disable=True)
            self._pipes[name] = made
        pipe = self._pipes[name]
        if control is not None:
            pipe.controlnet = control
        if self.union_mode(group.control) is not None:
            _each_image_alone(control, places=group.bucket)
        pipe.scheduler = scheduler(group.sampler, self.parts["scheduler"].config)
        return pipe

    def union_mode(self, kind: Control) -> int | None:
        """Return what a ControlNet that serves all kinds is told; None for one that serves one."""
        return UNION_MODES[kind] if "Union" in type(self.controls.get(kind)).__name__ else None

    def dress(self, loras: tuple[LoraUse, ...]) -> None:
        """Put these LoRAs into the weights, and no others.

        Raises:
            ProviderMisconfigured: a file is no LoRA for this UNet; the weights are without LoRAs.
            torch.OutOfMemoryError: no room for them; likewise.
        """
        if loras == self.dressed:
            return
        self.undress()
        if not loras:
            return
        pipe = self.pipeline(_plain_group(self.name))
        try:
            for at, lora in enumerate(loras):
                self._load(lora, pipe, adapter=f"imagemill_{at}")
            names = [f"imagemill_{at}" for at in range(len(loras))]
            pipe.set_adapters(names, adapter_weights=[lora.weight for lora in loras])
        except BaseException:
            pipe.unload_lora_weights()
            raise
        self.dressed = loras

    def _load(self, lora: LoraUse, pipe: Any, *, adapter: str) -> None:  # noqa: ANN401
        import torch

        file = self.lora_files.get(lora.name)
        if file is None:
            raise ProviderMisconfigured(
                f"This worker has no LoRA {lora.name!r}.", remedy="Give all workers the same files."
            )
        try:
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=adapter)
            # Of a file with nothing for the UNet or the encoders, diffusers says nothing.
            known = {name for part in pipe.get_list_adapters().values() for name in part}
            known.remove(adapter)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # diffusers and peft raise what the broken part leads to
            raise ProviderMisconfigured(
                f"The LoRA {file} does not fit this SDXL ({type(error).__name__}).",
                remedy="Give a LoRA that was trained on SDXL, as .safetensors.",
            ) from error

    def undress(self) -> None:
        """Take all LoRAs out again."""
        if self.dressed:
            self.pipeline(_plain_group(self.name)).unload_lora_weights()
            self.dressed = ()

    def renamed(self, name: str) -> None:
        """Other weights lie in the same modules now: what was remembered is not theirs."""
        self.name = name
        self._words.clear()

    def forget(self) -> None:
        """Let go of everything, so that nothing but the caller's own names holds the weights."""
        self._pipes.clear()
        self._words.clear()
        self.parts = {}


def _each_image_alone(net: Any, *, places: int) -> None:  # noqa: ANN401 - a ControlNetUnionModel
    """Let a union ControlNet look at each image of a bucket as if it were alone in it.

    Its transformer over kinds takes rows for a sequence (`nn.MultiheadAttention` without
    `batch_first`, diffusers 0.42.1 as the model's own code), so that an image would depend on its
    neighbours. Rows of one image, without and with its words, still see each other, as in bucket 1.
    """

    def attention(layer: Any, rows: Any) -> Any:  # noqa: ANN401 - a module, its tensors
        halves = rows.shape[0] // places
        apart = rows.reshape(halves, places * rows.shape[1], rows.shape[2])
        return layer.attn(apart, apart, apart, need_weights=False)[0].reshape(rows.shape)

    for layer in net.transformer_layes:
        layer.attention = partial(attention, layer)


def _plain_group(name: str) -> Group:
    return Group(name, (), "none", 1.0, None, "1:1", "1K", 1, 1.0, "euler", 1)
