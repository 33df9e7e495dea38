"""One contract, every provider: what the rest of the house may rely on."""

import asyncio
import pickle

import pytest

from imagemill.artifact import digest_of
from imagemill.decode import decoded
from imagemill.errors import UnsupportedRequest
from imagemill.providers.base import ImageProvider
from imagemill.providers.gemini import GeminiProvider
from tests.builders import image_request
from tests.providers.conftest import GEMINI_KEY
from tests.sdxl.asking import options


def sketch(request):
    from imagemill.providers.sketch import SketchProvider

    return SketchProvider()


def gemini(request):
    return GeminiProvider(api_key=GEMINI_KEY, base_url=request.getfixturevalue("fake").url)


def comfyui(request):
    return request.getfixturevalue("drawer")()


def sdxl(request):
    from imagemill.providers.sdxl import SdxlProvider
    from imagemill.providers.sdxl.engines import close_engines

    tiny = request.getfixturevalue("tiny")
    request.addfinalizer(close_engines)
    return SdxlProvider(options(tiny), digests=tiny.root / "digests.json")


@pytest.fixture(params=[sketch, gemini, comfyui, sdxl], ids=lambda made: made.__name__)
async def provider(request):
    """A new provider is one more line here."""
    made = request.param(request)
    yield made
    await made.aclose()


def a_request(provider, **changes):
    able = provider.capabilities()
    fields = {"provider": able.provider, "model": able.model, "size": able.default_size, "seed": 7}
    return image_request(**{**fields, **changes})


async def test_it_is_a_provider(provider):
    """It has the protocol's parts, and its name is the one its capabilities and requests use."""
    assert isinstance(provider, ImageProvider)
    assert provider.name == provider.capabilities().provider


async def test_it_says_what_it_can_do(provider):
    """The default model answers; by name it answers alike; its own default request is allowed."""
    able = provider.capabilities()
    assert provider.capabilities(able.model) == able
    assert able.default_size in able.sizes
    assert able.timeout_s > 0
    able.check(a_request(provider))


async def test_an_unknown_model_is_refused(provider):
    """Before anything is sent, with the known ones in the message; the error can be pickled."""
    with pytest.raises(UnsupportedRequest) as caught:
        provider.capabilities("no-such-model")
    assert provider.capabilities().model in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (UnsupportedRequest, str(caught.value))


async def test_what_it_makes_can_be_decoded(provider):
    """Whole bytes of the media type it says, the model and seed on record."""
    request = a_request(provider)
    image = await provider.generate(request)
    found = decoded(image.data)
    assert found.media_type == image.media_type
    assert (image.model, image.seed) == (request.model, 7)


async def test_it_never_costs_more_than_reserved(provider):
    """The bill of a normal answer is at most the worst case of its request."""
    request = a_request(provider)
    image = await provider.generate(request)
    assert 0 <= image.cost_usd <= provider.capabilities().worst_case_usd(request)


async def test_it_can_be_used_concurrently(provider):
    """Eight at once on one loop: eight different pictures of eight prompts."""
    words = ("fox", "whale", "tree", "house", "cat", "boat", "mountain", "flower")
    requests = [
        a_request(provider, prompt=f"a {word}", subject=f"a {word}", seed=seed)
        for seed, word in enumerate(words)
    ]
    images = await asyncio.gather(*(provider.generate(request) for request in requests))
    assert len({digest_of(image.data) for image in images}) == 8


async def test_its_configuration_can_be_checked(provider):
    """A usable provider says so, without an image."""
    await provider.check_configuration()


async def test_it_can_be_closed_twice(provider):
    """Whoever closes last does not have to know."""
    await provider.generate(a_request(provider))
    await provider.aclose()
    await provider.aclose()
