"""The fake Gemini, and a judge and a refiner that talk to it through the real SDK."""

import pytest

from imagemill.providers.gemini import Endpoint, GeminiWords
from tests.wire.gemini import FakeGemini


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
async def words(fake):
    made = GeminiWords(Endpoint(api_key="AIza-canary-key", base_url=fake.url), timeout_s=20)
    yield made
    await made.aclose()
