"""What walks through the nodes: one image from words to bytes, and the nodes' common shape."""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.errors import GpuLost, ImagemillError, ProviderError
from imagemill.providers.sdxl.buckets import Group
from imagemill.providers.sdxl.memory import context_is_gone, out_of_memory
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
        failure: Why there will be no picture, though the others of its bucket have theirs; later
            nodes do not see it.
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
    failure: ImagemillError | None = None

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


def run_node(node: Node, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
    """Run a node and write down what it took; what it raises names it.

    Raises:
        ImagemillError: the node's own, or a `ProviderError` for what it did not foresee.
        GpuLost: this process draws nothing more.
        torch.OutOfMemoryError: as it came, so that a smaller bucket is tried.
    """
    began = time.perf_counter()
    try:
        done = _whole(node.run(frames, bench), len(frames))
    except ImagemillError as error:
        error.message = f"{error.message} (node: {node.name})"
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        _log(node, error)
        if context_is_gone(error):
            raise GpuLost(
                f"The GPU's context is gone (node: {node.name}): this process draws nothing more.",
                remedy="Start the run again; what is drawn is reused. If it comes back, look at "
                "the GPU (nvidia-smi, dmesg).",
            ) from error
        raise ProviderError(
            f"Drawing failed: {type(error).__name__} (node: {node.name}).",
            remedy="Look at the worker's log and GPU (nvidia-smi); restart it if it goes on.",
        ) from error
    took = round(time.perf_counter() - began, 4)
    return [replace(each, seconds={**each.seconds, node.name: took}) for each in done]


def _whole(done: list[Frame], count: int) -> list[Frame]:
    if len(done) == count:
        return done
    raise ProviderError(
        f"{len(done)} frames came back of {count}.",
        remedy="A node returns each frame it was given, in the same order.",
    )


def _log(node: Node, error: Exception) -> None:
    """Say where a node failed. Its own message stays out: nobody knows what it quotes."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    logging.getLogger(__name__).warning(
        "Node %s failed: %s at %s:%s in %s.",
        node.name, type(error).__name__, at.filename, at.lineno, at.name,
    )  # fmt: skip
