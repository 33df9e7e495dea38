"""A ComfyUI server of the owner's own, as a provider: workflow in API format, polled over HTTP."""

from imagemill.providers.comfyui.line import DEFAULT_URL
from imagemill.providers.comfyui.patience import Patience
from imagemill.providers.comfyui.provider import ComfyUIProvider
from imagemill.providers.comfyui.workflow import Workflow, load_workflow

__all__ = ["DEFAULT_URL", "ComfyUIProvider", "Patience", "Workflow", "load_workflow"]
