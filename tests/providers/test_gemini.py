"""Gemini through the real SDK, against the fake over HTTP: one test per trap."""

import asyncio
from decimal import Decimal

import pytest

from imagemill.artifact import digest_of
from imagemill.catalog import load_catalog
from imagemill.decode import decoded
from imagemill.errors import (
    ContentBlocked,
    ImagemillError,
    ProviderMisconfigured,
    UnsupportedRequest,
)
from imagemill.providers.gemini import GeminiProvider, payload
from tests.builders import image_request
from tests.providers.conftest import GEMINI_KEY as KEY

MODEL = "gemini-nano-banana-2.1"
PROMPT = "a canary in a coal mine"


def a_request(**changes):
    return image_request(
        **{"provider": "gemini", "model": MODEL, "prompt": PROMPT, "size": "1K"} | changes
    )


async def failure_of(gemini, request=None) -> ImagemillError:
    with pytest.raises(ImagemillError) as caught:
        await gemini.generate(request or a_request())
    return caught.value


async def test_a_picture_is_billed_by_its_tokens(gemini):
    """1,120 picture tokens at $30 a million and 5 prompt tokens at $1.50: not a flat price."""
    image = await gemini.generate(a_request(seed=7))
    assert image.cost_usd == Decimal("0.0336075")
    assert (image.seed, image.model, image.media_type) == (7, MODEL, "image/png")
    assert decoded(image.data).width_px == 64
    assert image.facts["image_tokens"] == 1120


async def test_without_usage_the_flat_price_is_billed(fake, gemini):
    """An answer that reports no tokens still costs its picture."""
    fake.script(faults=[{"kind": "no_usage"}])
    assert (await gemini.generate(a_request())).cost_usd == Decimal("0.0336")


async def test_drafts_are_not_the_picture(fake, gemini):
    """A thought that holds a draft comes first; the picture is the part that is no thought."""
    fake.script(faults=[{"kind": "thoughts_first"}], deterministic=True)
    thoughtful = await gemini.generate(a_request())
    fake.script(faults=[])
    plain = await gemini.generate(a_request())
    assert digest_of(thoughtful.data) == digest_of(plain.data)
    assert thoughtful.cost_usd - plain.cost_usd == Decimal("0.001125")  # 150 thinking tokens


async def test_checking_the_configuration_is_free(fake, gemini):
    """A refused key is found with one look-up of the model's card; no image is asked for."""
    await gemini.check_configuration()
    fake.script(api_key="another")
    with pytest.raises(ProviderMisconfigured, match="API_KEY_INVALID"):
        await gemini.check_configuration()
    assert (fake.stats.requests, fake.stats.lookups) == (0, 2)


async def test_the_environment_does_not_flip_the_client(fake, monkeypatch):
    """Variables that move the SDK to Vertex, another version, host or HTTP library change nothing."""
    for name, value in {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_USE_ENTERPRISE": "true",
        "GOOGLE_CLOUD_PROJECT": "canary-project",
        "GOOGLE_GENAI_API_VERSION": "beta",
        "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9/",
        "GOOGLE_API_KEY": "another",
    }.items():
        monkeypatch.setenv(name, value)
    steady = GeminiProvider(api_key=KEY, base_url=fake.url)
    await steady.generate(a_request())
    sent, _ = fake.last[-1]
    assert sent.path == f"/v1/models/{MODEL}:generateContent"
    assert sent.headers["x-goog-api-key"] == KEY
    await steady.aclose()


async def test_a_hundred_at_once_are_a_hundred_in_flight(fake):
    """The connection pool is as wide as asked: the 150th request does not queue behind the rest."""
    fake.script(latency_s=0.5)
    wide = GeminiProvider(api_key=KEY, base_url=fake.url, max_connections=150)
    images = await asyncio.gather(*(wide.generate(a_request()) for _ in range(150)))
    assert len({digest_of(image.data) for image in images}) == 150
    assert fake.stats.max_in_flight > 100
    await wide.aclose()


async def test_the_request_goes_out_in_googles_words(fake, gemini):
    """Ratio, size, seed, filter, what to avoid and references, on the wire as documented."""
    png = (await gemini.generate(a_request())).data
    webp = b"RIFF\x04\0\0\0WEBP"
    request = a_request(
        size="2K", aspect_ratio="16:9", seed=7, safety="block_most", negative_prompt="text",
        references=(digest_of(png), digest_of(b"\xff\xd8\xff"), digest_of(webp)),
    )  # fmt: skip
    await gemini.generate(request, (png, b"\xff\xd8\xff", webp))
    _, body = fake.last[-1]
    text, *pictures = body["contents"][0]["parts"]
    assert text == {"text": f"{PROMPT}\n\nAvoid: text"}
    types = [picture["inlineData"]["mime_type"] for picture in pictures]
    assert types == ["image/png", "image/jpeg", "image/webp"]
    assert body["generationConfig"] == {
        "seed": 7,
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
    }
    assert {s["threshold"] for s in body["safetySettings"]} == {"BLOCK_LOW_AND_ABOVE"}


async def test_one_size_models_are_not_told_a_size(fake, gemini):
    """A model with one size refuses the field."""
    await gemini.generate(a_request(model="gemini-3.1-flash-lite-image"))
    assert fake.last[-1][1]["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1"}


async def test_a_reference_that_is_no_picture_is_not_sent(fake, gemini):
    """Paid requests do not carry what the model cannot read."""
    with pytest.raises(UnsupportedRequest, match="Reference image 1"):
        await gemini.generate(a_request(), (b"GIF89a",))
    assert fake.stats.requests == 0


async def test_the_key_of_a_request_goes_to_private_gateways_only(fake, gemini):
    """Google's own host never learns our request keys; a gateway set by base_url does."""
    request = a_request()
    await gemini.generate(request)
    assert fake.last[-1][0].headers[payload.KEY_HEADER] == request.key
    at_google = payload.http_options(request, timeout_s=2, private_gateway=False)
    assert (at_google.headers, at_google.timeout) == (None, 2000)


async def test_imagen_is_gone_from_the_developer_api(fake, gemini):
    """Not sent at all: the message says when it was shut down and what to use."""
    for refused in (
        lambda: gemini.capabilities("imagen-4.0-generate-001"),
        lambda: gemini._model("imagen-4.0-ultra-generate-001"),
    ):
        with pytest.raises(UnsupportedRequest, match=r"2026-08-17.*Use gemini-"):
            refused()
    assert fake.stats.requests == 0


async def test_vertex_that_still_serves_imagen_gets_its_own_fields(fake):
    """Negative prompt, filter and seed travel in Imagen's fields, and the price is flat."""
    vertex = GeminiProvider(api_key=KEY, base_url=fake.url, vertexai=True)
    request = a_request(
        model="imagen-4.0-generate-001", negative_prompt="text", safety="block_none", seed=3
    )
    image = await vertex.generate(request)
    assert image.cost_usd == Decimal("0.04")
    sent, body = fake.last[-1]
    assert sent.path.endswith("/publishers/google/models/imagen-4.0-generate-001:predict")
    assert body["instances"] == [{"prompt": PROMPT}]
    got = {name: str(value).lower() for name, value in body["parameters"].items()}
    wanted = {"negativePrompt": "text", "safetySetting": "block_none", "seed": "3"}
    assert wanted.items() <= got.items()
    fake.script(faults=[{"kind": "image_safety"}])
    assert isinstance(await failure_of(vertex, request), ContentBlocked)
    await vertex.aclose()


def test_a_provider_survives_its_event_loop(fake):
    """A second asyncio.run gets a client of its own, and the dead loop's is let go."""
    lasting = GeminiProvider(api_key=KEY, base_url=fake.url)
    for _ in range(3):
        asyncio.run(lasting.generate(a_request()))
    assert len(lasting._line.connections) == 1
    asyncio.run(lasting.aclose())


def test_the_models_own_patience_is_used_unless_told(fake):
    """3-pro thinks longer than flash: its time-out is in the catalog, the block can override it."""
    own = GeminiProvider(api_key=KEY).capabilities("gemini-3-pro-image")
    told = GeminiProvider(api_key=KEY, timeout_s=30).capabilities("gemini-3-pro-image")
    assert (own.timeout_s, told.timeout_s) == (180, 30)


def test_a_catalog_can_be_passed_in(tmp_path):
    """A model that came out yesterday works as soon as the user's catalog file names it."""
    own = tmp_path / "catalog.toml"
    own.write_text(
        '[models."gemini-next"]\nprovider = "gemini"\nsource = "me"\nread_on = 2026-11-21\n'
        'aspect_ratios = ["1:1"]\n[models."gemini-next".sizes]\n"1K" = { usd = "0.05" }\n'
    )
    able = GeminiProvider(api_key=KEY, catalog=load_catalog(own)).capabilities("gemini-next")
    assert able.sizes == {"1K": Decimal("0.05")}
