"""Local SDXL as a block: which weights, which GPU, how they are drawn."""

from pathlib import Path
from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field

from blocks.settings import Settings
from imagemill.diffusion import Guidance, Sampler, Steps
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.base import ImageProvider
from imagemill.providers.sdxl import Checkpoint, SdxlOptions, SdxlProvider
from imagemill.providers.sdxl.discovery import ControlKind, Models, models_in


class LocalSDXL(Block):
    """SDXL checkpoints on this worker's own GPU: three styles, three files, one VAE."""

    _block_type_name = "Local SDXL"
    _block_type_slug = "sdxl"
    _description = "SDXL checkpoints on the GPU of the worker: folders and files, memory, speed."

    models_folder: str = Field(
        default="",
        title="Models folder",
        description="As ComfyUI or webui keep it: checkpoints/, vae/, controlnet/, loras/. Empty "
        "for IMAGEMILL_SDXL_MODELS of the worker.",
    )
    checkpoints: list[str] = Field(
        default_factory=list,
        title="Checkpoints",
        description="Paths of .safetensors files besides or instead of the folder's.",
    )
    vae: str = Field(
        default="", title="VAE", description="Path of the shared VAE (sdxl-vae-fp16-fix)."
    )
    controlnet_canny: str = Field(
        default="", title="ControlNet canny", description="Path of a folder or file."
    )
    controlnet_depth: str = Field(
        default="", title="ControlNet depth", description="Path of a folder or file."
    )
    controlnet_union: str = Field(
        default="", title="ControlNet union", description="Path of a folder; serves every kind."
    )
    depth_model: str = Field(
        default="",
        title="Depth model",
        description="Folder of a depth estimator; without it a depth reference is the map itself.",
    )
    config_folder: str = Field(
        default="",
        title="Config folder",
        description="model_index.json, configs and tokenizers; empty for that of `make setup-gpu`.",
    )
    steps: Steps = Field(default=30, title="Steps", description="When the asker names none.")
    guidance: Guidance = Field(default=6.0, title="Guidance", description="Likewise.")
    sampler: Sampler = Field(
        default="dpmpp_2m_karras", title="Sampler", description="Likewise."
    )  # fmt: skip
    bucket: Literal[1, 2, 4, 8] = Field(
        default=4, title="Bucket", description="Most images drawn in one call."
    )
    max_resident: int = Field(
        default=1, ge=1, le=16, title="Resident checkpoints",
        description="How many stay in GPU memory; more than 1 needs 7 GB each.",
    )  # fmt: skip
    device: str = Field(
        default="auto",
        title="Device",
        description="auto, cpu, cuda, cuda:1; auto is the first GPU.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", title="Numbers", description="auto is bfloat16 where the GPU has it."
    )
    swap: Literal["auto", "copy", "reload"] = Field(
        default="auto",
        title="Change of checkpoint",
        description="copy overwrites in place from host memory; reload frees and reads the file.",
    )
    vram_cap_gb: float | None = Field(
        default=None, gt=0, title="VRAM cap (GB)", description="Behave as a card of this size."
    )
    compiled: bool = Field(
        default=False,
        title="Compile",
        description="About 15 % quicker after a minute for each new size; for long batches.",
    )
    keep_alive_s: float = Field(
        default=0, ge=0, title="Keep alive (s)",
        description="Free the GPU after so long without work; 0 keeps the weights there.",
    )  # fmt: skip
    native_px: int = Field(
        default=1024, ge=64, le=2048, title="Native side (px)",
        description="Side of size 1K; smaller only for trying tiny models.",
    )  # fmt: skip

    def build(self, settings: Settings) -> ImageProvider:
        """Return the provider; torch is imported at its first check.

        Raises:
            ProviderMisconfigured: no checkpoints are named anywhere.
        """
        return SdxlProvider(self.options(settings), digests=settings.home / "weights.json")

    def options(self, settings: Settings) -> SdxlOptions:
        """Return what the engine is started with.

        Raises:
            ProviderMisconfigured: no checkpoints are named anywhere, or the folder is not there.
        """
        found = self._models(settings)
        files = found.checkpoints | {Path(file).stem: _path(file) for file in self.checkpoints}
        own: dict[ControlKind, str] = {
            "canny": self.controlnet_canny, "depth": self.controlnet_depth,
            "union": self.controlnet_union,
        }  # fmt: skip
        controls = {kind: _path(place) for kind, place in own.items() if place}
        asked = {"steps": self.steps, "guidance": self.guidance, "sampler": self.sampler}
        return SdxlOptions(
            checkpoints={name: Checkpoint(file=file, **asked) for name, file in files.items()},
            config=_path(self.config_folder) if self.config_folder else settings.sdxl_config_folder,
            vae=_path(self.vae) if self.vae else found.vae,
            controls=found.controls | controls,
            depth_model=_path(self.depth_model) if self.depth_model else None,
            loras=found.loras, device=self.device, dtype=self.dtype, swap=self.swap,
            max_resident=self.max_resident, bucket=self.bucket, vram_cap_gb=self.vram_cap_gb,
            compile=self.compiled, keep_alive_s=self.keep_alive_s, native_px=self.native_px,
        )  # fmt: skip

    def _models(self, settings: Settings) -> Models:
        folder = self.models_folder or settings.sdxl_models
        if folder:
            return models_in(_path(folder))
        if not self.checkpoints:
            raise ProviderMisconfigured(
                "Local SDXL knows no checkpoints on this machine.",
                remedy="Set IMAGEMILL_SDXL_MODELS to a models folder (checkpoints/, vae/, "
                "controlnet/, loras/), or save a Local SDXL block that names the files.",
            )
        return Models()

    @classmethod
    def from_settings(cls, settings: Settings) -> "LocalSDXL":
        """Build from IMAGEMILL_SDXL_MODELS and IMAGEMILL_SDXL_DEVICE."""
        return cls(device=settings.sdxl_device)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()
