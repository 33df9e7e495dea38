"""The first node: a reference image becomes what the model is shown. Runs on threads, no torch."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from imagemill.diffusion import Control
from imagemill.errors import RequestError
from imagemill.providers.sdxl.frame import Bench, Frame

CANNY_LOW, CANNY_HIGH = 100, 200
"""Thresholds of the edges, 0 to 255: those the canny ControlNets were trained with (diffusers'
ControlNet guide, read 2026-11-21)."""

DepthEstimator = Callable[[Image.Image], Image.Image]


class Preprocess:
    """Fits the reference to the picture's sides; draws its edges or depth for a ControlNet.

    Args:
        depth: Estimates depth as a picture, near is bright; None takes a reference for the depth
            map itself.
    """

    name = "preprocess"
    lane: Literal["threads", "gpu"] = "threads"

    def __init__(self, depth: DepthEstimator | None = None) -> None:
        self._depth = depth

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        """Return the frames with `control` and `start` filled in, where there is a reference."""
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> Frame:
        if not frame.references:
            return frame
        fitted = _fitted(frame.references[0], (frame.width_px, frame.height_px))
        control = self._map(frame.group.control, fitted)
        start = fitted if frame.group.strength is not None else None
        return replace(frame, control=control, start=start)

    def _map(self, kind: Control, picture: Image.Image) -> Image.Image | None:
        if kind == "canny":
            return edges(picture)
        if kind == "depth":
            return self._depth(picture).convert("RGB") if self._depth else picture
        return None


def _fitted(data: bytes, size_px: tuple[int, int]) -> Image.Image:
    """Return the picture in RGB, cropped about its middle to the shape asked for."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
            return ImageOps.fit(upright, size_px, Image.Resampling.LANCZOS)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(
            "The reference image is damaged.", remedy="Give a whole PNG, JPEG or WebP picture."
        ) from error


def edges(picture: Image.Image) -> Image.Image:
    """Return white edges on black, RGB, of the same size."""
    import cv2

    grey = np.asarray(picture.convert("L"))
    found = cv2.Canny(grey, CANNY_LOW, CANNY_HIGH)
    return Image.fromarray(np.repeat(found[:, :, None], 3, axis=2))
