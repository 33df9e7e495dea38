"""Which model finds the subject where there is no plain background, and what `auto` means."""

from importlib.util import find_spec

from blocks.settings import Settings
from imagemill.errors import RequestError
from imagemill.transparency import Segmenter
from imagemill.transparency_rembg import RembgSegmenter
from imagemill.transparency_u2net import U2NetSegmenter

NONE, AUTO, U2NETP, REMBG = "none", "auto", "u2netp", "rembg"

NOTE_NONE = "No segmenter: pictures without a plain background are not cut out. `make setup-cutout` fetches u2netp."


def u2netp_installed(settings: Settings) -> bool:
    """Tell whether u2netp can be used: weights and runtime are there. Neither is loaded."""
    return settings.segmenter_weights.is_file() and find_spec("onnxruntime") is not None


def load_segmenter(name: str, settings: Settings) -> Segmenter | None:
    """Return a segmenter for `auto`, `none`, `u2netp` or `rembg:MODEL`.

    `auto` is u2netp where its weights lie, else none.

    Raises:
        RequestError: no such segmenter, or the weights of the one named are not there.
    """
    kind, _, model = name.strip().partition(":")
    there = u2netp_installed(settings)
    if kind == NONE or (kind == AUTO and not there):
        return None
    if kind == U2NETP and not there:
        raise RequestError(
            f"{U2NETP} is not on this machine.",
            remedy="Run `make setup-cutout`, or set IMAGEMILL_U2NETP_FILE; or choose the segmenter none.",
        )
    if kind in {AUTO, U2NETP}:
        return U2NetSegmenter(settings.segmenter_weights)
    if kind == REMBG and model:
        return RembgSegmenter(model)
    raise RequestError(
        f"There is no segmenter {name[:60]!r}.",
        remedy=f"Choose {AUTO}, {NONE}, {U2NETP} or {REMBG}:MODEL.",
    )
