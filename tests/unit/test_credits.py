"""Who drew what, in words."""

from imagemill.credits import drawers, drawers_label, provider_label, shares_in_words
from imagemill.report import table_rows
from imagemill.request import BatchResult
from tests.builders import image_result


def test_a_sketch_says_that_it_is_one():
    """Nobody takes it for a model's work, whichever block drew it."""
    assert provider_label("sketch/slow", "sketch-1") == "sketch/slow · procedural drawing"
    assert provider_label("gemini/team", "m") == "gemini/team · m"


def batch(*drawn_by):
    results = tuple(
        image_result(index=at, provider=provider, model=model, success=bool(provider),
                     status="made" if provider else "failed")
        for at, (provider, model) in enumerate(drawn_by)
    )  # fmt: skip
    return BatchResult.of("run-1", results, provider="gemini", model="m")


def test_when_several_drew_everything_that_is_shown_says_who():
    """Most first; failures have no drawer."""
    mixed = batch(("sketch", "sketch-1"), ("gemini", "m"), ("gemini", "m"), ("", ""))
    assert shares_in_words(drawers(mixed.results)) == "2 by gemini/m, 1 by sketch/sketch-1"
    assert drawers_label(mixed) == "gemini · m, sketch · procedural drawing"
    assert [row["drawn by"] for row in table_rows(mixed)] == [
        "sketch/sketch-1", "gemini/m", "gemini/m", "",
    ]  # fmt: skip


def test_when_one_drew_them_all_nothing_is_said_twice():
    """Also when it was not the one that was asked; and with nothing drawn the asked one is named."""
    one = batch(("sketch", "sketch-1"), ("sketch", "sketch-1"))
    assert shares_in_words(drawers(one.results)) == ""
    assert drawers_label(one) == "sketch · procedural drawing"
    assert "drawn by" not in table_rows(one)[0]
    assert drawers_label(batch(("", ""))) == "gemini · m"
