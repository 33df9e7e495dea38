"""The fake Gemini, one server a module, the fake ComfyUI, and providers that talk to them."""

import json

import pytest

from imagemill.providers.comfyui import ComfyUIProvider, Patience, load_workflow
from imagemill.providers.gemini import GeminiProvider
from tests.providers.comfy_graphs import panel
from tests.sdxl.conftest import diffusers_here, tiny
from tests.wire.comfy import FakeComfy
from tests.wire.gemini import FakeGemini

__all__ = ["diffusers_here", "tiny"]

GEMINI_KEY = "AIza-canary-key-5150"
"""Searched for in everything that is said about a failure."""


@pytest.fixture(scope="module")
def gemini_server():
    with FakeGemini() as running:
        yield running


@pytest.fixture
def fake(gemini_server):
    """The fake, as if just started."""
    gemini_server.reset()
    return gemini_server


@pytest.fixture
async def gemini(fake):
    made = GeminiProvider(api_key=GEMINI_KEY, base_url=fake.url, timeout_s=20)
    yield made
    await made.aclose()


@pytest.fixture
def comfy():
    """A fake ComfyUI of this test's own."""
    with FakeComfy() as running:
        yield running


@pytest.fixture
def drawer(comfy):
    """Make a provider that asks the fake, impatiently, with a workflow of 64 x 64."""

    def made(graph=None, *, mapping=None, **patience):
        told = {"first_pause_s": 0.002, "longest_pause_s": 0.02, "away_s": 5.0, **patience}
        workflow = load_workflow(json.dumps(graph or panel()), mapping=mapping)
        return ComfyUIProvider(workflow, base_url=comfy.url, patience=Patience(**told))

    return made
