"""The fake Gemini, one server a module, and a provider that talks to it."""

import pytest

from imagemill.providers.gemini import GeminiProvider
from tests.sdxl.conftest import diffusers_here, tiny
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
