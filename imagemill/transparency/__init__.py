"""Making and keeping transparency: cut-outs whose alpha was measured. Numpy only.

No model of the catalog returns alpha, whatever the document assumes (mission A5), so it is made
here: kept where it is good, cut along a plain background, or taken from a segmenter that is
injected. The adapters that import a model live in `transparency_u2net` and `transparency_rembg`.
"""

from imagemill.transparency.alpha import clean_alpha, on_white
from imagemill.transparency.cut_out import CutOut, CutOutFacts, Method, Segmenter, cut_out

__all__ = [
    "CutOut",
    "CutOutFacts",
    "Method",
    "Segmenter",
    "clean_alpha",
    "cut_out",
    "on_white",
]
