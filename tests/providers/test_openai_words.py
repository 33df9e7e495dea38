"""A text model behind an OpenAI-compatible address, over HTTP against a small fake."""

import json
import logging
import pickle
import socket
import traceback
from decimal import Decimal

import pytest
from pydantic import BaseModel

from imagemill.errors import (
    AnswerLost,
    ContentBlocked,
    ImagemillError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    UnsupportedRequest,
)
from imagemill.providers.openai import OpenAIWords
from tests.wire.chat import FakeChat
from tests.wire.pixels import png

PROMPT = "a canary in a coal mine"
KEY = "sk-canary-5150"


class Shape(BaseModel):
    answer: str


@pytest.fixture
def chat():
    with FakeChat() as running:
        yield running


@pytest.fixture
def words(chat):
    price = (Decimal("0.5"), Decimal("2"))
    return OpenAIWords(base_url=f"{chat.url}/v1/", model="m", api_key=KEY, usd_per_million=price)


async def failure_of(words) -> ImagemillError:
    with pytest.raises(ImagemillError) as caught:
        await words.write(PROMPT)
    return caught.value


async def test_an_answer_is_billed_by_its_tokens(chat, words):
    """300 in at $0.5, 40 out at $2 a million; words go out as words."""
    chat.text = "yes"
    found = await words.write(PROMPT)
    assert (found.text, found.whole, found.model) == ("yes", True, "m")
    assert found.cost_usd == Decimal("0.00023")
    request, body = chat.last
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "user", "content": PROMPT}]
    assert "response_format" not in body


async def test_a_schema_and_pictures_travel_along(chat, words):
    """JSON is asked for in the form that compatible servers know; pictures are data addresses."""
    await words.write(PROMPT, schema=Shape, pictures=[png(b"x", width_px=8, height_px=8)])
    _, body = chat.last
    system, user = body["messages"]
    assert body["response_format"] == {"type": "json_object"}
    assert '"answer"' in system["content"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


async def test_a_local_server_needs_no_key(chat):
    """No header is sent, and a model without price costs nothing."""
    found = await OpenAIWords(base_url=f"{chat.url}/v1", model="m").write(PROMPT)
    assert found.cost_usd == 0
    assert "authorization" not in chat.last[0].headers


async def test_a_cut_answer_is_not_whole(chat, words):
    """finish_reason length, or nothing said."""
    chat.finish_reason, chat.text = "length", "ye"
    assert not (await words.write(PROMPT)).whole
    chat.finish_reason, chat.text = "stop", None
    assert not (await words.write(PROMPT)).whole


async def test_a_filter_is_blocked_and_billed(chat, words):
    """content_filter, or a refusal in words."""
    chat.finish_reason = "content_filter"
    assert (await failure_of(words)).cost_usd == Decimal("0.00023")
    chat.finish_reason, chat.refusal = "stop", f"I will not draw {PROMPT}"
    assert isinstance(await failure_of(words), ContentBlocked)


async def test_an_answer_without_usage_counts_at_its_worst_case(chat, words):
    """A gateway that reports nothing is not free."""
    chat.usage = False
    assert (await words.write(PROMPT)).cost_usd > Decimal("0.004")


STATUS = {
    400: UnsupportedRequest, 422: UnsupportedRequest, 401: ProviderMisconfigured,
    403: ProviderMisconfigured, 404: ProviderMisconfigured, 302: ProviderMisconfigured,
    408: ProviderUnavailable, 429: RateLimited, 500: ProviderUnavailable, 503: ProviderUnavailable,
}  # fmt: skip


@pytest.mark.parametrize(("status", "expected"), STATUS.items())
async def test_a_status_has_its_class_and_tells_nothing(chat, words, status, expected, caplog):
    """One request each; neither prompt nor key is in error, pickle, traceback or log."""
    caplog.set_level(logging.DEBUG)
    chat.status = status
    error = await failure_of(words)
    assert type(error) is expected
    assert error.remedy
    assert chat.requests == 1
    told = "".join(traceback.format_exception(error)) + caplog.text + repr(pickle.dumps(error))
    assert "canary" not in told
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("header", "expected_s"), [("7", 7.0), ("1.5", 1.5), ("soon", None), ("", None)]
)
async def test_the_server_says_when_to_come_back(chat, words, header, expected_s):
    """Retry-After in seconds; anything else is nothing."""
    chat.status, chat.headers = 429, {"retry-after": header} if header else {}
    assert (await failure_of(words)).retry_after_s == expected_s


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b""])
async def test_what_is_no_completion_is_lost(chat, words, body):
    """A 200 that is no answer may have been billed: the worst case is told."""
    chat.body = body
    error = await failure_of(words)
    assert isinstance(error, AnswerLost)
    assert error.cost_usd > 0


async def test_a_dropped_answer_is_lost_and_a_refused_connection_is_not(chat, words):
    """One may have been billed, the other was never sent."""
    chat.drop = True
    lost = await failure_of(words)
    assert isinstance(lost, AnswerLost)
    assert lost.cost_usd > 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        away = await failure_of(OpenAIWords(base_url=nowhere, model="m"))
    assert isinstance(away, ProviderUnavailable)
    odd = await failure_of(OpenAIWords(base_url="ftp://127.0.0.1", model="m"))
    assert isinstance(odd, ProviderMisconfigured)
    assert json.dumps(str(odd))


def test_the_key_is_in_no_repr(words):
    """Blocks and workshops are printed by accident."""
    assert "canary" not in repr(words.__dict__)
