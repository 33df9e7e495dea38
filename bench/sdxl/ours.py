"""The engine as the benchmark drives it: the real one, through its own door, with nodes that look on."""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from bench.sdxl.run import Run, Setting
from imagemill.diffusion import Control, Diffusion
from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.frame import Bench, Frame, Node
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.options import Checkpoint, SdxlOptions
from imagemill.providers.sdxl.postprocess import Postprocess
from imagemill.providers.sdxl.preprocess import Preprocess
from imagemill.request import ImageRequest

SAMPLER = "dpmpp_2m_karras"
NEGATIVE = "blurry, low quality"
WAIT_S = 540.0
"""Longest wait for a picture: a call on the GPU machine ends after 600 s."""


def options(run: Run, **more) -> SdxlOptions:
    """Return the engine's options as a GPU owner has them, but for what is measured."""
    files, s = run.files, run.setting
    own = {
        "checkpoints": {n: Checkpoint(file=file) for n, file in files.checkpoints.items()},
        "config": files.config, "vae": files.vae, "device": s.device, "dtype": s.dtype,
        "bucket": max(s.buckets), "native_px": s.size_px,
    }  # fmt: skip
    return SdxlOptions(**(own | more))


@contextmanager
def running(chosen: SdxlOptions, nodes: Sequence[Node] | None = None):
    """An engine for the length of a block; its memory is free afterwards, and any cap is off."""
    engine = Engine(chosen, nodes=nodes)
    try:
        yield engine
    finally:
        engine.close()  # it collects and empties; the row does so once more
        if chosen.vram_cap_gb is not None and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(1.0)


def asked(
    setting: Setting, model: str, number: int, *, bucket: int, steps: int = 0,
    control: Control = "none", tag: str = "",
) -> ImageRequest:  # fmt: skip
    """Return request `number`: its words and seed follow from the number and the tag."""
    how = Diffusion(
        steps=steps or setting.steps, guidance=setting.guidance, sampler=SAMPLER,
        control=control, bucket=bucket,
    )  # fmt: skip
    return ImageRequest(
        provider="sdxl", model=model, prompt=f"a red fox, picture {number} {tag}",
        negative_prompt=NEGATIVE, seed=number, diffusion=how,
    )  # fmt: skip


def draw(
    engine: Engine, requests: Sequence[ImageRequest], references: Sequence[bytes] = ()
) -> tuple[list[Frame], float]:
    """Ask for all at once; return the finished frames and the wall seconds to the last PNG."""
    began = time.perf_counter()
    tickets = [engine.submit(each, references, chunks=1) for each in requests]
    frames = [ticket.future.result(timeout=WAIT_S) for ticket in tickets]
    return frames, time.perf_counter() - began


def draw_full(
    engine: Engine, setting: Setting, requests: Sequence[ImageRequest]
) -> tuple[list[Frame], int]:
    """Draw exactly these in one call: they queue while another picture is drawn.

    Returns them and the number of calls they took: 1 unless the machine was very slow.
    """
    primer = asked(
        setting, requests[0].model, 10_000, bucket=1, steps=setting.steps + 6, tag="primer"
    )
    before = engine.report().calls
    first = engine.submit(primer, (), chunks=1)
    while engine.report().step < 1 and not first.future.done():
        time.sleep(0.001)
    frames, _ = draw(engine, requests)
    first.future.result(timeout=WAIT_S)
    return frames, engine.report().calls - before - 1


class Inline:
    """PNG on the GPU's thread, while `on`: what a loop does that encodes before it draws on."""

    name = "inline"
    lane: Literal["threads", "gpu"] = "gpu"

    def __init__(self) -> None:
        self.on = False
        self._inner = Postprocess()

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        return self._inner.run(frames, bench) if self.on else list(frames)


class Later(Postprocess):
    """`postprocess` for what was not encoded inline."""

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        return list(frames) if frames[0].data else super().run(frames, bench)


class Crowded:
    """Plays a small card on the CPU: a bucket above `most` is out of memory, so the ladder is walked."""

    name = "generate"
    lane: Literal["threads", "gpu"] = "gpu"

    def __init__(self, most: int) -> None:
        self._most = most
        self._inner = Generate()

    def run(self, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        if frames[0].group.bucket > self._most:
            raise torch.OutOfMemoryError("played by the benchmark")
        return self._inner.run(frames, bench)


def standard(middle: Node) -> list[Node]:
    """Return the standard nodes with another one in the middle."""
    return [Preprocess(), middle, Postprocess()]
