"""A perceptual hash: whether two pictures look the same."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from imagemill.quality.check import Check, Picture, at_least
from imagemill.quality.colour import luma, on_ground

SAME_BITS = 7
"""Hashes nearer than this are the same picture. Measured on 50 drawings: copies with noise of 5
levels, blur of 1 px or another size differ by up to 5 bits, different drawings by at least 8."""
_MARGIN = 3.0
"""Levels a neighbour must be brighter by; without it noise on flat ground decides (measured: copies
differ by up to 7 bits, drawings by as few as 6). A cosine hash (pHash) was tried and dropped:
symmetric sprites have coefficients near 0, and copies differed by 22 bits."""


def fingerprint(picture: Picture) -> str:
    """Return the difference hash (dHash) of a picture over mid-grey: 64 bits as 16 hex digits.

    Over mid-grey both black and white outlines count.
    """
    plane = luma(on_ground(picture, 128.0))
    small = np.asarray(Image.fromarray(plane).resize((9, 8), Image.Resampling.BOX))
    brighter = small[:, 1:] > small[:, :-1] + _MARGIN
    return np.packbits(brighter.ravel()).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Return how many of 64 bits of two fingerprints differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def duplicate(picture: Picture, others: Iterable[str]) -> Check:
    """Tell whether the picture looks like one of `others`: the bits to the nearest, at most 64.

    Args:
        picture: The picture.
        others: Fingerprints of pictures it must not look like.
    """
    own = fingerprint(picture)
    nearest = min((distance(own, other) for other in others), default=64)
    return at_least(
        "duplicate", nearest, SAME_BITS, "Make another one: it looks like one that is there.",
        unit="bits",
    )  # fmt: skip
