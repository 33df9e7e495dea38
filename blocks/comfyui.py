"""A ComfyUI server as a block: where it is, which workflow it runs, what is filled in where."""

from prefect.blocks.core import Block
from pydantic import Field

from blocks.settings import Settings
from imagemill.providers.base import ImageProvider


class ComfyUI(Block):
    """A ComfyUI server of your own, with a workflow exported in API format."""

    _block_type_name = "ComfyUI"
    _block_type_slug = "comfyui"
    _description = "A ComfyUI server: address, workflow in API format, checkpoint, node mapping."

    base_url: str = Field(
        default="",
        title="Base URL",
        description="Where it listens; empty for IMAGEMILL_COMFYUI_URL, else http://127.0.0.1:8188.",
    )
    workflow: str = Field(
        default="",
        title="Workflow",
        description="Path of a file exported in API format, or its JSON, or make_panel or "
        "make_panel_sdxl; empty for IMAGEMILL_COMFYUI_WORKFLOW, else make_panel.",
    )
    checkpoint: str = Field(
        default="",
        title="Checkpoint",
        description="File name as the server lists it; empty for IMAGEMILL_COMFYUI_CHECKPOINT where "
        "the workflow is empty too, else the workflow's own.",
    )
    nodes: dict[str, str] = Field(
        default_factory=dict,
        title="Nodes",
        description="What links cannot tell: output, sampler, positive, negative, seed, size, "
        "checkpoint, reference, each with a node's id or title.",
    )
    timeout_s: float = Field(
        default=300.0,
        gt=0,
        title="Time-out (s)",
        description="Longest drawing of one image, counted from when the server begins it.",
    )

    def build(self, settings: Settings) -> ImageProvider:
        """Return the provider; httpx is imported here, nothing is sent.

        Raises:
            ProviderMisconfigured: the workflow or the address is not one.
        """
        from imagemill.providers.comfyui import ComfyUIProvider, Patience, load_workflow

        # A workflow of the block's own brings its own checkpoint: the variable is not for it.
        own = self.checkpoint or ("" if self.workflow else settings.comfyui_checkpoint)
        workflow = load_workflow(
            self.workflow or settings.comfyui_workflow, checkpoint=own, mapping=self.nodes
        )
        return ComfyUIProvider(
            workflow, base_url=self.base_url or settings.comfyui_url,
            patience=Patience(run_s=self.timeout_s),
        )  # fmt: skip

    @classmethod
    def from_settings(cls, settings: Settings) -> "ComfyUI":
        """Build from IMAGEMILL_COMFYUI_URL, _WORKFLOW and _CHECKPOINT, which `build` reads."""
        return cls()
