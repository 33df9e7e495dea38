"""The catalog: prices and dates as data, a user's file over them."""

from datetime import date
from decimal import Decimal

import pytest

from imagemill.bounds import ASPECT_RATIOS, SIZES
from imagemill.catalog import load_catalog, price_age_warning, retirement_warning
from imagemill.errors import RequestError, UnsupportedRequest
from tests.builders import image_request

TODAY = date(2026, 11, 21)
DEFAULT = "gemini-nano-banana-2.1"


def shipped(name=DEFAULT):
    return load_catalog().models[name]


@pytest.mark.parametrize("model", load_catalog().models.values(), ids=lambda model: model.name)
def test_every_entry_can_be_trusted(model):
    """Source, date, known sizes and ratios, a price for each size, a successor if it retires."""
    assert model.source
    assert model.read_on <= TODAY
    assert set(model.sizes) <= set(SIZES)
    assert set(model.aspect_ratios) <= set(ASPECT_RATIOS)
    assert bool(model.retires_on) == bool(model.successor)
    assert model.successor in {"", *load_catalog().named(model.provider)}
    if model.kind == "image":
        assert model.default_size in model.sizes
        assert all(model.flat_usd(size) for size in model.sizes)
    else:
        assert not model.sizes


@pytest.mark.parametrize(
    ("model", "size", "published_usd"),
    [
        (DEFAULT, "1K", "0.0336"),
        ("gemini-3-pro-image", "2K", "0.134"),
        ("gemini-3-pro-image", "4K", "0.24"),
        ("gemini-3.1-flash-lite-image", "1K", "0.0336"),
        ("gemini-3.1-flash-image", "512", "0.045"),
        ("gemini-2.5-flash-image", "1K", "0.039"),
        ("imagen-4.0-ultra-generate-001", "1K", "0.06"),
    ],
)
def test_prices_are_the_published_ones(model, size, published_usd):
    """Tokens times token price is the published price of a picture, to a tenth of a cent."""
    assert abs(shipped(model).flat_usd(size) - Decimal(published_usd)) < Decimal("0.0006")


def test_a_reservation_covers_words_and_doubt():
    """Worst case: the picture, 1,000 prompt tokens, thinking, and a quarter on estimated prices."""
    model = shipped()
    words = Decimal("0.0015") + Decimal("0.0075")
    assert model.worst_usd("1K") == Decimal("0.0336") + words
    assert model.worst_usd("2K") == Decimal("0.0504") * Decimal("1.25") + words


def test_a_long_prompt_and_references_reserve_more():
    """A prompt has at most one token per byte; each reference adds its own tokens."""
    able = shipped().capabilities()
    plain = image_request(provider="gemini", model=DEFAULT, size="1K")
    long = plain.model_copy(update={"prompt": "ж" * 1_000, "negative_prompt": "x" * 500})
    rich = plain.model_copy(update={"references": ("0" * 64, "1" * 64)})
    token_usd = Decimal("0.0000015")
    assert able.worst_case_usd(plain) == able.sizes["1K"]
    assert able.worst_case_usd(long) == able.sizes["1K"] + 1_500 * token_usd
    assert able.worst_case_usd(rich) == able.sizes["1K"] + 2 * 1_120 * token_usd


def test_an_unknown_model_lists_the_known_ones():
    """Whoever mistypes a model sees which there are, the living first."""
    with pytest.raises(
        UnsupportedRequest, match=r"gemini-nano-banana-2\.1, gemini-3-pro"
    ) as caught:
        load_catalog().find("gemini-9", provider="gemini")
    assert "gemini-3.8-flash" not in str(caught.value)
    judge = load_catalog().find("gemini-3.8-flash", provider="gemini", kind="text")
    assert judge.text_usd_per_million == Decimal("7.50")


@pytest.mark.parametrize(
    ("model", "today", "expected"),
    [
        (DEFAULT, TODAY, None),
        ("gemini-3.1-flash-image", TODAY, "gemini-3.1-flash-image was retired on 2026-10-29. Use"),
        ("gemini-2.5-flash-image", TODAY, "gemini-2.5-flash-image will be retired on 2027-03-15"),
        ("gemini-2.5-flash-image", date(2026, 9, 1), None),
    ],
)
def test_retirement_is_announced(model, today, expected):
    """Gone or going within 120 days: one sentence, with the successor; also from capabilities."""
    for about in (shipped(model), shipped(model).capabilities()):
        warning = retirement_warning(about, today)
        assert warning == expected or (warning or "").startswith(expected or "never")


def test_old_prices_are_announced():
    """A price read long ago may have changed."""
    able = shipped().capabilities()
    assert price_age_warning(able, TODAY) is None
    assert "read on 2026-11-21" in price_age_warning(able, date(2027, 6, 1))


def test_a_users_file_lies_over_the_shipped_one(tmp_path):
    """One price changed, one model added; everything else stays; an unpriced size is unknown."""
    own = tmp_path / "mine.toml"
    own.write_text(
        f'[models."{DEFAULT}".sizes]\n"1K" = {{ usd = "0.05" }}\n'
        '[models."mine"]\nprovider = "gemini"\nsource = "me"\nread_on = 2026-11-20\n'
        '[models."mine".sizes]\n"1K" = {}\n'
    )
    catalog = load_catalog(own)
    assert catalog.models[DEFAULT].flat_usd("1K") == Decimal("0.05")
    assert catalog.models[DEFAULT].flat_usd("2K") == Decimal("0.0504")
    assert catalog.models[DEFAULT].flat_usd("8K") is None
    assert catalog.models["mine"].capabilities().sizes == {"1K": None}
    assert load_catalog().models[DEFAULT].flat_usd("1K") == Decimal("0.0336")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[models.x", "Expected"),
        ('[models.x]\nprovider = "gemini"', "models.x.source: Field required"),
        (None, "No such file"),
    ],
)
def test_a_broken_file_says_where(tmp_path, text, told):
    """The message names the file and the entry that is wrong."""
    own = tmp_path / "mine.toml"
    if text is not None:
        own.write_text(text)
    with pytest.raises(RequestError, match=told):
        load_catalog(own)
