"""Assets of a pack that look the same: paid twice, or two names for one thing."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.quality.check import Picture
from imagemill.quality.colour import on_ground
from imagemill.quality.duplicates import SAME_BITS, distance, fingerprint

SAME_LEVELS = 20.0
"""Mean difference of the tenth of 24 x 24 cells that differ most. Measured where fingerprints are
equal: tiles with another icon at least 39; copies with noise of 5 levels in another size up to 7."""
_SIDE_PX = 24

Small = NDArray[np.float32]


def duplicates(pictures: Mapping[str, Picture]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of names whose pictures look the same, in the order given."""
    seen = {name: (fingerprint(picture), _small(picture)) for name, picture in pictures.items()}
    return tuple(
        (one, other)
        for (one, a), (other, b) in combinations(seen.items(), 2)
        if distance(a[0], b[0]) < SAME_BITS and _farthest(a[1], b[1]) < SAME_LEVELS
    )


def _farthest(one: Small, other: Small) -> float:
    cells = np.sort(np.abs(one - other).mean(axis=-1).ravel())
    return float(cells[-len(cells) // 10 :].mean())


def _small(picture: Picture) -> Small:
    ground = Image.fromarray(on_ground(picture, 128.0).astype(np.uint8))
    return np.asarray(ground.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX), np.float32)
