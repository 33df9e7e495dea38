"""SDXL on this machine. Importing it brings no torch: that is imported at the first check."""

from imagemill.providers.sdxl.options import Checkpoint, SdxlOptions
from imagemill.providers.sdxl.provider import SdxlProvider

__all__ = ["Checkpoint", "SdxlOptions", "SdxlProvider"]
