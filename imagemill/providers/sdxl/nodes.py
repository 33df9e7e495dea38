"""The pipeline: which nodes an image walks through, in order. A new node is named here."""

from imagemill.providers.sdxl.frame import Node
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.loading import Place
from imagemill.providers.sdxl.options import SdxlOptions
from imagemill.providers.sdxl.postprocess import Postprocess
from imagemill.providers.sdxl.preprocess import Preprocess


def standard_nodes(options: SdxlOptions, place: Place) -> tuple[Node, ...]:
    """Return preprocess, generate, postprocess."""
    depth = None
    if options.depth_model is not None:
        from imagemill.providers.sdxl.depth import estimator

        depth = estimator(options.depth_model, place)
    return (Preprocess(depth), Generate(), Postprocess())
