"""The sketch provider: procedural drawings of the words, deterministic, embedded and free."""

from imagemill.providers.sketch.provider import SketchFaults, SketchProvider, pixel_size

__all__ = ["SketchFaults", "SketchProvider", "pixel_size"]
