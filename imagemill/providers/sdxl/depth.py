"""Depth of a photograph, for the depth ControlNet: a transformers model from a folder."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.loading import Place


def estimator(folder: Path, place: Place) -> Callable[[Image.Image], Image.Image]:
    """Return a function from a picture to its depth, grey, near is bright, of the same size.

    Args:
        folder: A depth model as transformers saves it (MiDaS/DPT, Depth Anything).
        place: Where it runs.

    Raises:
        ProviderMisconfigured: the folder holds none.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    try:
        processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForDepthEstimation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # transformers raises what the broken part leads to
        raise ProviderMisconfigured(
            f"The depth model {folder} does not load ({type(error).__name__}).",
            remedy="Give the folder of a depth estimation model as transformers saves it.",
        ) from error
    model = model.to(place.device).eval()
    one_at_a_time = threading.Lock()

    def depth(picture: Image.Image) -> Image.Image:
        import torch

        # Beside the call that draws, several at once would take memory from it.
        with one_at_a_time, torch.inference_mode():
            inputs = processor(images=picture, return_tensors="pt").to(place.device)
            found = model(**inputs).predicted_depth[0].float().cpu().numpy()
        low, high = float(found.min()), float(found.max())
        grey = ((found - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
        return Image.fromarray(grey).resize(picture.size, Image.Resampling.BICUBIC)

    return depth
