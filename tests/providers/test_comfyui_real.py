"""The same client against a real ComfyUI: `COMFYUI_URL=http://127.0.0.1:8188 pytest -m real_comfy`.

Draws a few 128 x 128 pictures of two steps with the first checkpoint that the server has.
"""

import asyncio
import json
import time

import httpx
import pytest

from imagemill.decode import decoded
from imagemill.errors import ProviderError, ProviderMisconfigured, ProviderUnavailable
from imagemill.providers.comfyui import ComfyUIProvider, Patience, load_workflow
from tests.builders import image_request
from tests.providers.comfy_graphs import node, panel
from tests.wire.comfy_shapes import recorded, shape
from tests.wire.test_comfy import fits

pytestmark = [pytest.mark.real_comfy, pytest.mark.timeout(600)]


@pytest.fixture
def ask(real_comfyui_url):
    with httpx.Client(base_url=real_comfyui_url, trust_env=False) as client:
        yield client.request


@pytest.fixture
def checkpoint(ask):
    found = ask("GET", "/object_info/CheckpointLoaderSimple").json()["CheckpointLoaderSimple"]
    config = found["input"]["required"]["ckpt_name"]
    names = config[0] if isinstance(config[0], list) else config[1]["options"]
    if not names:
        pytest.skip("the server has no checkpoint")
    return names[0]


@pytest.fixture
def drawer(real_comfyui_url, checkpoint):
    def made(graph=None, **patience):
        small = graph or panel(n3={"steps": 2}, n5={"width": 128, "height": 128})
        workflow = load_workflow(json.dumps(small), checkpoint=checkpoint)
        told = Patience(**{"run_s": 300, **patience})
        return ComfyUIProvider(workflow, base_url=real_comfyui_url, patience=told)

    return made


def asked(drawn, **changes):
    able = drawn.capabilities()
    fields = {"provider": "comfyui", "model": able.model, "size": able.default_size, "seed": 7}
    return image_request(**{**fields, **changes})


async def test_it_draws_and_the_same_again_is_the_same(drawer):
    """A picture of the size asked for; the second attempt comes from the server's cache."""
    drawn = drawer()
    await drawn.check_configuration()
    first, second = [await drawn.generate(asked(drawn)) for _ in range(2)]
    found = decoded(first.data)
    assert (found.width_px, found.height_px) == (128, 128)
    assert first.data == second.data
    assert second.facts["cached_nodes"] > 0


def until_running(ask, *, running):
    """Poll the server, which is another process, until it runs something, or nothing."""
    deadline = time.monotonic() + 120
    while bool(ask("GET", "/queue").json()["queue_running"]) is not running:
        assert time.monotonic() < deadline
        time.sleep(0.1)


async def test_a_cancelled_image_is_not_on_the_server_any_more(drawer, ask):
    """Neither queued nor running, and nobody waits for it."""
    drawn = drawer(panel(n3={"steps": 400}, n5={"width": 128, "height": 128}))
    task = asyncio.create_task(drawn.generate(asked(drawn)))
    await asyncio.to_thread(until_running, ask, running=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until_running, ask, running=False)


async def test_an_image_that_runs_too_long_is_stopped(drawer):
    """By its id, at the deadline."""
    drawn = drawer(panel(n3={"steps": 400}, n5={"width": 128, "height": 128}), run_s=1)
    with pytest.raises(ProviderUnavailable, match="longer than 1 s"):
        await drawn.generate(asked(drawn, seed=8))


async def test_what_is_not_installed_is_named(drawer, checkpoint, real_comfyui_url):
    """Checkpoint and node class, before a run and at submission."""
    missing = load_workflow(checkpoint="not-there.safetensors")
    drawn = ComfyUIProvider(missing, base_url=real_comfyui_url)
    for ask in (drawn.check_configuration, lambda: drawn.generate(asked(drawn))):
        with pytest.raises(ProviderMisconfigured, match="no checkpoint 'not-there"):
            await ask()
    with pytest.raises(ProviderMisconfigured, match="no node 'NoSuchNode'"):
        await drawer(panel() | {"1": node("NoSuchNode")}).check_configuration()


async def test_a_node_that_raises_is_named(drawer):
    """A prefix that leaves the output folder is refused by SaveImage itself."""
    drawn = drawer()
    drawn._fill = _escaping(drawn._fill)
    with pytest.raises(ProviderError, match="node SaveImage failed with"):
        await drawn.generate(asked(drawn))


def _escaping(fill):
    from dataclasses import replace

    async def filled(*args, **more):
        return replace(await fill(*args, **more), prefix="../../../escape")

    return filled


async def test_its_answers_still_have_the_recorded_shape(drawer, ask):
    """What a newer server changed shows here first."""
    drawn = drawer()
    await drawn.generate(asked(drawn, seed=9))
    (entry,) = list(ask("GET", "/history?max_items=1").json().items())[-1:]
    real, now = recorded()["43_history_txt2img"]["body"]["<id>"], shape(dict([entry]))
    assert fits(now["<id>"]["status"], real["status"])
    assert fits(now["<id>"]["outputs"], real["outputs"])
    stats = shape(ask("GET", "/system_stats").json())
    assert "comfyui_version" in stats["system"]
