"""Segmenters of the rembg library, by the name of their model.

rembg is imported where it is used: its first import compiles for a minute, and without onnxruntime
it ends the process (`sys.exit(1)`), which is caught. The session is always named: rembg's own
default, bria-rmbg, may not be used commercially (`facts/models.md`, 1).
"""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.errors import ServiceError
from imagemill.quality.check import Picture

FOREGROUND_THRESHOLD = 240
"""Alpha matting: surely subject from here (the document, 5.2)."""
BACKGROUND_THRESHOLD = 10
"""Alpha matting: surely background up to here (the document, 5.2)."""
DEFAULT_MODEL = "u2netp"


class RembgSegmenter:
    """Finds the subject with a model of rembg.

    Args:
        model: rembg's name of it, e.g. `u2netp`, `isnet-general-use`, `birefnet-general`.
        alpha_matting: Refine the alpha with thresholds 240 and 10; 2 to 7 s more.
    """

    def __init__(self, model: str = DEFAULT_MODEL, *, alpha_matting: bool = True) -> None:
        if not model:
            raise ValueError("Name a model: rembg's default is not free for commercial use.")
        self.name = f"rembg/{model}"
        self._model = model
        self._alpha_matting = alpha_matting
        self._session: Any = None

    def mask(self, picture: Picture) -> NDArray[np.uint8]:
        """Return H x W alpha, 0 to 255.

        Raises:
            ServiceError: rembg or the model's weights are not there.
        """
        rembg = self._library()
        if self._session is None:
            self._session = self._opened(rembg)
        cut = rembg.remove(
            Image.fromarray(np.ascontiguousarray(picture[..., :3])),
            session=self._session,
            alpha_matting=self._alpha_matting,
            alpha_matting_foreground_threshold=FOREGROUND_THRESHOLD,
            alpha_matting_background_threshold=BACKGROUND_THRESHOLD,
        )
        return np.asarray(cut.convert("RGBA"))[..., 3]

    def _library(self) -> Any:  # noqa: ANN401  rembg ships no types
        try:
            return importlib.import_module("rembg")
        except (ImportError, SystemExit) as error:
            raise ServiceError(
                "rembg or its onnxruntime is not installed.",
                remedy="Install `rembg[cpu]`, or use a plain background.",
            ) from error

    def _opened(self, rembg: Any) -> Any:  # noqa: ANN401
        try:
            return rembg.new_session(self._model)
        except (OSError, ValueError, RuntimeError) as error:
            raise ServiceError(
                f"rembg cannot open its model {self._model}.",
                remedy=f"Put {self._model}.onnx into rembg's model folder (U2NET_HOME), or name a "
                "model that is there.",
            ) from error
