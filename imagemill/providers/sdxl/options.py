"""What a GPU owner sets: which files draw, on which device, and how much may stay in memory."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imagemill.diffusion import Control, Guidance, Sampler, Scale, Steps, Strength
from imagemill.errors import UnsupportedRequest

BUCKETS = (1, 2, 4, 8)
"""Numbers of images that one call draws. Few, because each is a shape to compile."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Checkpoint(BaseModel):
    """One merged SDXL checkpoint and how it likes to be asked.

    Attributes:
        file: A single-file `.safetensors`, in the layout merges are shared in.
        steps: Denoising steps when the asker names none.
        guidance: Classifier-free guidance when the asker names none.
        sampler: Likewise.
    """

    model_config = _FROZEN

    file: Path
    steps: Steps = 30
    guidance: Guidance = 6.0
    sampler: Sampler = "dpmpp_2m_karras"


class SdxlOptions(BaseModel):
    """How SDXL is drawn on this machine.

    Attributes:
        checkpoints: By name; the first is the default.
        config: Folder with model_index.json, component configs and tokenizers; never the network.
        vae: A folder or single file that all checkpoints share; None uses each one's own.
        controls: ControlNets, by what they keep of a reference image; `union` serves every kind.
        depth_model: Folder of a depth estimator, for references that are photographs; without it
            a reference for depth is taken for the depth map itself.
        loras: LoRA files by name.
        device: "auto" is the first GPU, or the CPU where there is none.
        dtype: "auto" is bfloat16 on a GPU that has it, float16 on older ones, float32 on the CPU.
        max_resident: So many checkpoints stay in GPU memory.
        swap: "copy" overwrites the resident weights in place from host copies; "reload" frees them
            and reads the file; "auto" copies on a GPU.
        host_copies_gb: Host memory for pinned copies; None is half of what is free at the start.
        bucket: Most images in one call, one of 1, 2, 4, 8.
        vram_cap_gb: The engine behaves as on a card of this size; None uses the whole card.
        compile: Compile the UNet's blocks; the first call of each shape takes a minute.
        linger_s: A bucket that is not full waits at most this long for more while the GPU is idle,
            and a change of checkpoint for more images of the resident one.
        max_wait_s: An image that waited longer than this is drawn next, whatever is resident.
        keep_alive_s: Weights leave GPU memory after so long without work; 0 keeps them.
        native_px: Side of the square the checkpoints were trained on, which is size 1K.
        control: What is kept of a reference image when the asker does not say; None is edges where a
            ControlNet for them is configured, else nothing (image to image).
        control_scale: How firmly.
        strength: How much of a reference image is drawn anew where no ControlNet holds it.
    """

    model_config = _FROZEN

    checkpoints: Annotated[dict[str, Checkpoint], Field(min_length=1)]
    config: Path
    vae: Path | None = None
    controls: dict[Literal["canny", "depth", "union"], Path] = Field(default_factory=dict)
    depth_model: Path | None = None
    loras: dict[str, Path] = Field(default_factory=dict)
    device: str = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_resident: Annotated[int, Field(ge=1, le=16)] = 1
    swap: Literal["auto", "copy", "reload"] = "auto"
    host_copies_gb: Annotated[float | None, Field(ge=0)] = None
    bucket: int = 4
    vram_cap_gb: Annotated[float | None, Field(gt=0)] = None
    compile: bool = False
    linger_s: Annotated[float, Field(ge=0, le=10)] = 0.1
    max_wait_s: Annotated[float, Field(gt=0)] = 120.0
    keep_alive_s: Annotated[float, Field(ge=0)] = 0.0
    native_px: Annotated[int, Field(ge=64, le=2048)] = 1024
    control: Control | None = None
    control_scale: Scale = 0.8
    strength: Strength = 0.6

    @field_validator("bucket")
    @classmethod
    def _on_the_ladder(cls, value: int) -> int:
        if value not in BUCKETS:
            raise ValueError(f"bucket is one of {', '.join(map(str, BUCKETS))}")
        return value

    def named(self, model: str = "") -> str:
        """Return the name of a checkpoint: as configured, or by the beginning of it.

        `RealVisXL` finds `RealVisXL_V4.0`; case and punctuation do not count. "" is the first one.

        Raises:
            UnsupportedRequest: none or several begin so; lists the known ones.
        """
        if not model:
            return next(iter(self.checkpoints))
        if model in self.checkpoints:
            return model
        found = [name for name in self.checkpoints if _plain(name).startswith(_plain(model))]
        if len(found) == 1 and _plain(model):
            return found[0]
        known = ", ".join(self.checkpoints)
        how_many = "several checkpoints begin" if found else "no checkpoint is called or begins"
        raise UnsupportedRequest(
            f"For sdxl, {how_many} with {model[:60]!r}.", remedy=f"Configured are: {known}."
        )

    def control_file(self, kind: Control) -> Path | None:
        """Return the ControlNet that keeps `kind`: its own, or the union of all kinds."""
        if kind == "none":
            return None
        return self.controls.get(kind) or self.controls.get("union")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
