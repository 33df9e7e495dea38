"""A text becomes a prompt: paid once where a model reads it, free by rules, and told to no log."""

import asyncio
import json
from decimal import Decimal

import pytest

from imagemill.errors import BudgetExceeded, RequestError
from tests.flows.assets import billed_by, charged
from tests.flows.test_canary import (
    PROMPT,
    everything,  # noqa: F401 - a fixture
    silent,
)

STORY = "눈 내리는 숲에서 작은 여우가 보름달을 바라봐요"


def route(text: str = STORY, **fields):
    from flows.route import route_text

    return asyncio.run(route_text(text=text, **fields))


def reader(_body) -> str:
    return json.dumps(
        {"style": "illustration", "purpose": "book page", "keywords": ["a small fox", "full moon"]}
    )


def test_a_text_is_read_by_a_model_and_paid_once(mill):
    """The bill is what the answer reports; the same text again sends nothing."""
    mill.fake.script(writer=reader)
    routed = route(user_input="그림책처럼")
    assert (routed["branch"], routed["style_name"]) == ("illustration", "Storybook")
    assert routed["keywords"] == ["a small fox", "full moon"]
    assert "full moon" in routed["prompt"]
    assert charged(mill) == billed_by(mill.fake) == Decimal(routed["cost_usd"]) > 0
    assert mill.rows("SELECT kind, state FROM runs") == [("route", "completed")]
    again = route(user_input="그림책처럼")
    assert again["prompt"] == routed["prompt"]
    assert mill.fake.stats.requests == 1
    assert charged(mill) == billed_by(mill.fake)


def test_by_rules_nothing_is_sent_and_it_says_so(mill):
    """No request, no run in the ledger, a note."""
    routed = route(words="rules", user_input="사진처럼")
    assert (routed["branch"], routed["by"]) == ("realistic", "rules")
    assert "rules" in routed["note"]
    assert mill.fake.stats.requests == 0


def test_no_room_in_the_budget_sends_nothing(mill):
    """The worst case is held before the question goes out."""
    with pytest.raises(BudgetExceeded):
        route(max_cost_usd=0.00001)
    assert mill.fake.stats.requests == 0
    assert charged(mill) == 0


@pytest.mark.parametrize("fields", [{"text": ""}, {"text": f"{PROMPT} " * 900}])
def test_refused_at_the_door_without_a_word_of_it(mill, fields):
    """A clear error, no request, and the text is in no message."""
    with pytest.raises(RequestError) as refused:
        route(**fields)
    silent(str(refused.value), "the refusal")
    assert mill.fake.stats.requests == 0


def test_a_text_is_told_to_no_log(mill, everything, capfd):  # noqa: F811
    """Whatever the model answers, and when its answer is lost."""
    mill.fake.script(writer=lambda _body: PROMPT, faults=[{"kind": "drop", "prompt": PROMPT}])
    lost = route(PROMPT)
    read = route(f"{PROMPT} once more")
    assert (lost["by"], read["by"]) == ("rules", "rules")
    silent("\n".join(everything.lines), "a log")
    printed = capfd.readouterr()
    silent(printed.out + printed.err, "the terminal")
