"""Refiners: subject and style survive, the length holds, and failure falls back to rules."""

import logging
import traceback
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.asset.gemini_refiner import GeminiRefiner, kept_subject
from imagemill.asset.refiner import (
    HEADING,
    MAX_CORRECTIONS,
    Feedback,
    RuleRefiner,
    corrected,
)
from imagemill.asset.template import worded
from imagemill.errors import ImagemillError, RateLimited, UnsupportedRequest
from tests.asset.builders import CANARY, asset, guide

FIRST = worded(asset(), guide())
ONE_USD = Decimal("0.00075")


def feedback(*suggestions, attempt=1):
    return Feedback(suggestions=suggestions or ("Sharper edges.",), failed_attempts=attempt)


async def refined_ten_times(refiner, fake=None):
    """Ten refinements in a row, each with fresh and longer feedback."""
    prompt, seen = FIRST.prompt, []
    for attempt in range(1, 11):
        told = feedback(*(f"{attempt}.{n} " + "mend it " * 50 for n in range(3)), attempt=attempt)
        prompt = (await refiner.refine(FIRST, prompt, told)).prompt
        seen.append(prompt)
    return seen


@pytest.mark.parametrize("max_chars", [len(FIRST.prompt), 2_200, 8_000])
async def test_rules_keep_subject_style_and_length_for_ten_refinements(max_chars):
    """The first prompt stays whole above the corrections, which do not grow without end."""
    prompts = await refined_ten_times(RuleRefiner(max_chars=max_chars))
    for prompt in prompts:
        assert prompt.startswith(FIRST.prompt)
        assert len(prompt) <= max_chars
        assert prompt.count(HEADING) <= 1
    assert len(prompts[-1]) == len(prompts[3])


async def test_rules_put_the_newest_first_and_each_once():
    """The last picture's faults lead; those before it follow until there are six."""
    rules = RuleRefiner()
    one = await rules.refine(FIRST, FIRST.prompt, feedback("a", "b", "c"))
    two = await rules.refine(FIRST, one.prompt, feedback("d", "b"))
    again = await rules.refine(FIRST, one.prompt, feedback("d", "b"))
    assert two == again
    assert two.prompt.endswith(f"{HEADING}\n- d\n- b\n- a\n- c")
    many = await rules.refine(FIRST, two.prompt, feedback(*"efgh"))
    assert many.prompt.count("\n- ", many.prompt.index(HEADING)) == MAX_CORRECTIONS
    assert (two.by, two.cost_usd) == ("rules", 0)
    nothing = await rules.refine(FIRST, FIRST.prompt, Feedback())
    assert nothing.prompt == FIRST.prompt


@given(st.lists(st.lists(st.text(max_size=400), max_size=5), max_size=12), st.integers(0, 3_000))
def test_no_feedback_bursts_the_bound(rounds, room):
    """Whatever is suggested, blanks and headings included, the first prompt stays and the length holds."""
    prompt, most = FIRST.prompt, len(FIRST.prompt) + room
    for suggestions in rounds:
        prompt = corrected(FIRST, prompt, [*suggestions, HEADING], max_chars=most)
        assert prompt.startswith(FIRST.prompt)
        assert len(prompt) <= most


async def test_a_first_prompt_that_is_too_long_is_refused():
    """Said once and clearly, not cut somewhere in the subject."""
    with pytest.raises(UnsupportedRequest, match="at most 100") as caught:
        await RuleRefiner(max_chars=100).refine(FIRST, FIRST.prompt, feedback())
    assert CANARY not in str(caught.value)


async def test_gemini_rewrites_and_bills_its_tokens(fake, words):
    """What it answers is the next prompt; the question holds both prompts and the feedback."""
    better = f"16-bit pixel art style, {FIRST.subject}, razor-sharp pixel edges."
    fake.script(text_answer=better)
    found = await GeminiRefiner(words).refine(FIRST, "the current one", feedback("Less blur."))
    assert (found.prompt, found.by, found.cost_usd) == (better, "gemini-3.8-flash", ONE_USD)
    text = fake.last[-1][1]["contents"][0]["parts"][0]["text"]
    assert "the current one" in text
    assert "- Less blur." in text
    assert "(1 failures)" in text


@pytest.mark.parametrize(
    "answer",
    ["An entirely different picture of a steam engine, with bold outlines and bright colours.",
     "x" * 7_900, "SUBJECT: a steam engine\n" + "very sharp, " * 40],
    ids=["forgetful", "long", "short"],
)  # fmt: skip
async def test_gemini_cannot_lose_the_subject_in_ten_refinements(fake, words, answer):
    """What the model drops is put back, once; what would be too long is not used."""
    fake.script(text_answer=answer)
    prompts = await refined_ten_times(GeminiRefiner(words))
    for prompt in prompts:
        assert FIRST.subject in prompt
        assert FIRST.style in prompt
        assert len(prompt) <= 8_000
    assert prompts[-1].count(FIRST.subject) == prompts[0].count(FIRST.subject) == 1
    assert fake.stats.requests == 10


def test_what_is_there_is_not_put_back_twice():
    """Blanks and case do not matter; a code fence is taken off."""
    text = f"```{FIRST.subject.upper()} in 16-bit  pixel art style```"
    assert kept_subject(text, FIRST) == text.strip("`")


@pytest.mark.parametrize("kind", ["max_tokens", "prompt_blocked", "drop", "empty", ""])
async def test_an_unusable_answer_falls_back_to_rules(fake, words, kind):
    """Blocked, cut, lost, empty or a mere remark: the rules refine, and the bill stays."""
    fake.script(text_answer="Looks fine." if not kind else "y" * 200,
                faults=[{"kind": kind}] if kind else [])  # fmt: skip
    refiner = GeminiRefiner(words)
    found = await refiner.refine(FIRST, FIRST.prompt, feedback("Less blur."))
    assert found.by == "rules"
    assert found.prompt.endswith("- Less blur.")
    assert 0 < found.cost_usd <= refiner.worst_case_usd(FIRST, FIRST.prompt)


async def test_being_told_to_wait_is_raised(fake, words):
    """429 is for the task decorator, not swallowed by the rules."""
    fake.script(faults=[{"kind": "rate_limited", "retry_after_s": 3}])
    with pytest.raises(RateLimited) as caught:
        await GeminiRefiner(words).refine(FIRST, FIRST.prompt, feedback())
    assert caught.value.retryable


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "bad_request", "html_error"])
async def test_no_failure_tells_the_prompt(fake, words, kind, caplog):
    """The fake echoes prompts in its errors; none comes through, nor into the log."""
    caplog.set_level(logging.DEBUG)
    fake.script(faults=[{"kind": kind}])
    with pytest.raises(ImagemillError) as caught:
        await GeminiRefiner(words).refine(FIRST, FIRST.prompt, feedback(CANARY))
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text
