"""What walks through the nodes: one image from words to bytes, and the nodes' common shape."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.providers.sdxl.buckets import Group
from imagemill.request import ImageRequest

if TYPE_CHECKING:
    from imagemill.providers.sdxl.drawer import Drawer


@dataclass(frozen=True)
class Frame:
    """One image on its way.

    Attributes:
        references: Encoded reference images, as they were sent.
        group: What it shares with the images of its bucket.
        seed: Of the noise, 0 to 2**31 - 1.
        width_px: Of the picture; a multiple of 8.
        control: What a ControlNet is shown, RGB, of the picture's size.
        start: What image to image starts from, RGB, of the picture's size.
        pixels: H x W x 3 uint8, once it is drawn.
        data: Encoded PNG, once it is done.
        seconds: What each node took for it; of a call for several, the whole call.
        facts: Small notes for the manifest.
    """

    request: ImageRequest
    references: tuple[bytes, ...]
    group: Group
    seed: int
    width_px: int
    height_px: int
    control: Image.Image | None = None
    start: Image.Image | None = None
    pixels: NDArray[np.uint8] | None = None
    data: bytes = b""
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str | int | float] = field(default_factory=dict)

    def with_facts(self, **facts: str | int | float) -> "Frame":
        """Return the frame with more notes."""
        return replace(self, facts={**self.facts, **facts})


@dataclass
class Bench:
    """What a node may use besides the frames.

    Attributes:
        drawer: The resident checkpoint and its shared parts; None on the threads.
        tiled: Decode in tiles: slower, and the last resort before an image is given up.
        stopped: Asked after every step; True ends the call, because nobody waits for it any more.
        stepped: Told after every step: which one, of how many.
    """

    drawer: "Drawer | None" = None
    tiled: bool = False
    stopped: Callable[[], bool] = lambda: False
    stepped: Callable[[int, int], None] = lambda _step, _steps: None


class Node(Protocol):
    """One step. A new one (upscale, face fix) is a file with such a class, named in the pipeline.

    Attributes:
        name: For timings and messages: `upscale`.
        lane: "threads" for work on one image that needs no GPU; "gpu" for work on a whole bucket.
    """

    name: str
    lane: Literal["threads", "gpu"]

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        """Return the frames, in the same order, with this step done. Never prompt text in errors."""
        ...


def timed(node: Node, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
    """Run a node and write down what it took."""
    began = time.perf_counter()
    done = node.run(frames, bench)
    took = round(time.perf_counter() - began, 4)
    return [replace(each, seconds={**each.seconds, node.name: took}) for each in done]
