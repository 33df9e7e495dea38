"""What the tests here ask of an engine, and a picture to ask with."""

import io
import time

import numpy as np
from PIL import Image

from imagemill.diffusion import Diffusion
from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.options import Checkpoint, SdxlOptions
from tests.builders import image_request

PATIENCE_S = 60


def options(tiny, **changes):
    """The tiny SDXL, 64 px a side and two steps; a bucket waits for nothing."""
    files = {"first": tiny.first, "second": tiny.second, "third": tiny.third}
    fields = {
        "checkpoints": {
            name: Checkpoint(file=file, steps=2, guidance=5, sampler="euler")
            for name, file in files.items()
        },
        "config": tiny.config, "vae": tiny.vae, "native_px": 64, "device": "cpu", "linger_s": 0,
    }  # fmt: skip
    return SdxlOptions(**{**fields, **changes})


def asked(prompt="a red fox", *, model="first", seed=7, bucket=1, size="1K", **how):
    """A request that a provider completed."""
    fields = {"steps": 2, "guidance": 5, "sampler": "euler", "bucket": bucket, **how}
    return image_request(
        provider="sdxl", model=model, prompt=prompt, negative_prompt="blurry", seed=seed, size=size,
        aspect_ratio="1:1", diffusion=Diffusion(**fields),
    )  # fmt: skip


def submitted(engine, requests, *, references=(), chunks=1):
    return [engine.submit(each, references, chunks=chunks) for each in requests]


def frames(engine, requests, **more):
    """Ask for all at once; returns the finished frames in the order of the requests."""
    tickets = submitted(engine, requests, **more)
    return [ticket.future.result(PATIENCE_S) for ticket in tickets]


def drawn(engine, requests, **more):
    """The same, the pictures' bytes only."""
    return [frame.data for frame in frames(engine, requests, **more)]


def fresh(options, requests, *, nodes=None, **more):
    """What an engine draws that was started for it alone."""
    engine = Engine(options, nodes=nodes)
    try:
        return drawn(engine, requests, **more)
    finally:
        engine.close()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def png(size_px=(64, 64), *, seed=3, box=None):
    """A reference image with edges in it: noise, or a white box on black."""
    width, height = size_px
    made = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    if box is not None:
        made = np.zeros((height, width, 3), np.uint8)
        left, top, right, bottom = box
        made[top:bottom, left:right] = 255
    out = io.BytesIO()
    Image.fromarray(made).save(out, "PNG")
    return out.getvalue()


def until(condition):
    """Poll with a deadline; returns what the condition gave."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
    return found
