"""Bills from tokens, and what a batch may cost before it is sent."""

from datetime import date
from decimal import Decimal

import pytest

from imagemill.catalog import load_catalog
from imagemill.cost import Usage, bill, estimate
from imagemill.errors import UnsupportedRequest
from imagemill.providers.base import Capabilities
from tests.builders import image_request

TODAY = date(2026, 11, 21)


def model(name="gemini-nano-banana-2.1"):
    return load_catalog().models[name]


def test_each_kind_of_token_has_its_price():
    """Prompt, picture, words and thinking at $1.50, $30, $7.50 and $7.50 a million."""
    usage = Usage(prompt_tokens=200, image_tokens=1120, text_tokens=40, thinking_tokens=160)
    assert bill(usage, model(), size="1K") == Decimal("0.0003") + Decimal("0.0336") + Decimal(
        "0.0015"
    )


def test_no_usage_is_billed_flat():
    """Without tokens the picture's own price; nothing when no picture came."""
    assert bill(None, model(), size="2K") == Decimal("0.0504")
    assert bill(None, model()) == 0


def test_a_flat_price_ignores_tokens():
    """Imagen bills the picture, whatever it says about tokens."""
    usage = Usage(image_tokens=10_000)
    assert bill(usage, model("imagen-4.0-generate-001"), size="1K") == Decimal("0.04")


@pytest.mark.parametrize("name", load_catalog().named("gemini"))
def test_a_normal_answer_never_passes_its_reservation(name):
    """For every model and size: a full prompt and full thinking bill at most the worst case."""
    priced = model(name)
    able = priced.capabilities()
    for size, price in priced.sizes.items():
        request = image_request(provider="gemini", model=name, size=size, prompt="x" * 1_900)
        usage = Usage(
            prompt_tokens=1_900,
            image_tokens=price.tokens or 0,
            thinking_tokens=priced.thinking_tokens,
        )
        assert bill(usage, priced, size=size) <= able.worst_case_usd(request)


def test_an_estimate_says_least_most_and_how_old():
    """Three images: the pictures alone, what is reserved, the price's date, what to know."""
    able = model("gemini-3.1-flash-image").capabilities()
    request = image_request(provider="gemini", model=able.model, size="1K")
    told = estimate(able, [request] * 3, today=date(2027, 6, 1))
    assert (told.images, told.min_usd) == (3, Decimal("0.2016"))
    assert told.max_usd == 3 * able.sizes["1K"]
    assert told.price_read_on == date(2026, 11, 21)
    assert ["retired" in warning for warning in told.warnings] == [True, False]


def test_a_free_provider_costs_nothing():
    """Capabilities without token prices: least and most are the price they state."""
    free = Capabilities(
        provider="sketch", model="s", sizes={"256": Decimal(0)}, default_size="256",
        aspect_ratios=("1:1",),
    )  # fmt: skip
    told = estimate(free, [image_request()], today=TODAY)
    assert (told.min_usd, told.max_usd, told.warnings) == (0, 0, ())


def test_an_unknown_price_is_no_estimate():
    """No budget can hold a price nobody knows."""
    unknown = {"sizes": {"1K": None}, "flat_usd": {"1K": None}}
    able = model().capabilities().model_copy(update=unknown)
    with pytest.raises(UnsupportedRequest):
        estimate(able, [image_request(model=able.model, size="1K")], today=TODAY)
