"""How Gemini fails, through the real SDK against the fake: one test per trap."""

import asyncio
import logging
import pickle
import socket
import traceback
from decimal import Decimal

import pytest

from imagemill.decode import decoded
from imagemill.errors import (
    AnswerLost,
    ArtifactError,
    Billing,
    ContentBlocked,
    ImagemillError,
    NoImage,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    UnsupportedRequest,
)
from imagemill.providers.gemini import GeminiProvider, line
from tests.builders import image_request
from tests.providers.conftest import GEMINI_KEY as KEY

MODEL = "gemini-nano-banana-2.1"
PROMPT = "a canary in a coal mine"

FAILURES = {
    "bad_request": UnsupportedRequest,
    "key_refused": ProviderMisconfigured,
    "no_billing": ProviderMisconfigured,
    "unauthenticated": ProviderMisconfigured,
    "forbidden": ProviderMisconfigured,
    "model_gone": ProviderMisconfigured,
    "redirect": ProviderMisconfigured,
    "rate_limited": RateLimited,
    "quota_per_day": QuotaExhausted,
    "too_slow": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "html_error": ProviderUnavailable,
    "drop": AnswerLost,
    "drop_midway": AnswerLost,
    "truncated_json": AnswerLost,
    "html": AnswerLost,
    "not_an_object": AnswerLost,
    "bad_base64": AnswerLost,
    "no_image": NoImage,
    "image_other": NoImage,
    "text_only": NoImage,
    "max_tokens": NoImage,
    "new_reason": NoImage,
    "empty": NoImage,
    "image_safety": ContentBlocked,
    "prohibited": ContentBlocked,
    "prompt_blocked": ContentBlocked,
}


def a_request(**changes):
    return image_request(
        **{"provider": "gemini", "model": MODEL, "prompt": PROMPT, "size": "1K"} | changes
    )


async def failure_of(gemini, request=None) -> ImagemillError:
    with pytest.raises(ImagemillError) as caught:
        await gemini.generate(request or a_request())
    return caught.value


@pytest.mark.parametrize(("kind", "expected"), FAILURES.items())
async def test_a_fault_is_named_after_one_request(fake, gemini, kind, expected):
    """Every way to fail has its class, and costs exactly one request: nothing resends."""
    fake.script(faults=[{"kind": kind}])
    error = await failure_of(gemini)
    assert type(error) is expected
    assert error.remedy
    assert fake.stats.requests == 1


@pytest.mark.parametrize("kind", FAILURES)
async def test_no_failure_tells_the_prompt_or_the_key(fake, gemini, kind, caplog):
    """Not in text, repr, pickle, causes, traceback or the log at DEBUG: servers echo prompts."""
    caplog.set_level(logging.DEBUG)
    fake.script(faults=[{"kind": kind}])
    error = await failure_of(gemini)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
    told = [
        str(error), repr(error), repr(error.__dict__), repr(pickle.dumps(error)), caplog.text,
        "".join(traceback.format_exception(error)), repr(error.__cause__), repr(gemini.__dict__),
    ]  # fmt: skip
    assert error.__context__ is None or error.__context__ is error.__cause__
    for text in told:
        assert "canary" not in text


async def test_a_refusal_carries_what_its_words_cost(fake, gemini):
    """A blocked prompt bills its words, and the error says how much and why."""
    fake.script(faults=[{"kind": "prompt_blocked"}])
    error = await failure_of(gemini)
    assert isinstance(error, ContentBlocked)
    assert error.reason == "PROHIBITED_CONTENT"
    assert error.billing is Billing.BILLED
    assert error.cost_usd == Decimal("0.0000075")


async def test_a_cut_picture_is_found_by_decoding(fake, gemini):
    """A picture cut short in valid base64 passes the SDK; decoding in full refuses it."""
    fake.script(faults=[{"kind": "truncated_image"}])
    image = await gemini.generate(a_request())
    with pytest.raises(ArtifactError):
        decoded(image.data)


@pytest.mark.parametrize(
    ("rule", "expected_s"),
    [
        ({"retry_after_s": 36}, 36.0),
        ({"retry_after_s": 1.574}, 1.574),
        ({"retry_after_header": "7"}, 7.0),
        ({"retry_after_header": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry_after_header": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"retry_after_header": "soon"}, None),
        ({"retry_after_s": 2, "retry_after_header": "9"}, 2.0),
        ({}, None),
    ],
)
async def test_the_server_says_when_to_come_back(fake, gemini, rule, expected_s):
    """RetryInfo first, then the Retry-After header, both of which the SDK ignores."""
    fake.script(faults=[{"kind": "rate_limited", **rule}])
    error = await failure_of(gemini)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == expected_s


async def test_a_missing_key_says_what_to_do(fake):
    """Without a key nothing is sent, and the message names the variable and the way without."""
    keyless = GeminiProvider(base_url=fake.url)
    for attempt in (keyless.check_configuration(), keyless.generate(a_request())):
        with pytest.raises(ProviderMisconfigured, match=r"GOOGLE_API_KEY.*GEMINI_API_KEY.*sketch"):
            await attempt
    assert (fake.stats.requests, fake.stats.lookups) == (0, 0)


async def test_a_key_that_cannot_be_one_is_refused_before_sending(fake):
    """A pasted line break or letter would end in a header error that shows the key."""
    for key in ("canary\nkey", "canary-ключ"):
        broken = GeminiProvider(api_key=key, base_url=fake.url)
        with pytest.raises(ProviderMisconfigured) as caught:
            await broken.check_configuration()
        assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_a_gone_model_names_its_successor(fake, gemini):
    """404 on a retired model: the remedy says which one to use."""
    fake.script(faults=[{"kind": "model_gone"}])
    error = await failure_of(gemini, a_request(model="gemini-3.1-flash-image"))
    assert "Use gemini-nano-banana-2.1" in error.remedy


async def test_a_silent_server_is_ambiguous(fake):
    """No answer in time: it may have been billed, so it is not `unavailable`."""
    fake.script(faults=[{"kind": "stall"}])
    hasty = GeminiProvider(api_key=KEY, base_url=fake.url, timeout_s=0.2)
    error = await failure_of(hasty)
    assert isinstance(error, AnswerLost)
    assert "ReadTimeout" in str(error)
    assert fake.stats.requests == 1
    await hasty.aclose()


async def test_an_outer_clock_ends_what_http_does_not(fake, monkeypatch):
    """HTTP's time-out is per phase; the whole attempt has one as well, and it is ambiguous."""
    monkeypatch.setattr(line, "GRACE_S", -9.8)
    fake.script(faults=[{"kind": "stall"}])
    hasty = GeminiProvider(api_key=KEY, base_url=fake.url, timeout_s=10)
    error = await failure_of(hasty)
    assert isinstance(error, AnswerLost)
    assert "TimeoutError" in str(error)
    await hasty.aclose()


async def test_waiting_for_a_connection_is_not_sending(fake):
    """More requests than connections: who never got one was certainly not billed."""
    fake.script(faults=[{"kind": "stall"}])
    narrow = GeminiProvider(api_key=KEY, base_url=fake.url, timeout_s=0.3, max_connections=1)
    errors = await asyncio.gather(*(failure_of(narrow) for _ in range(2)))
    assert {type(error) for error in errors} == {AnswerLost, ProviderUnavailable}
    assert fake.stats.requests == 1
    assert narrow.capabilities().max_in_flight == 1
    await narrow.aclose()


async def test_a_refused_connection_was_not_billed():
    """Nobody listens: unavailable, retried, and nothing was sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        nowhere = GeminiProvider(api_key=KEY, base_url=url)
        error = await failure_of(nowhere)
    assert isinstance(error, ProviderUnavailable)
    assert error.retryable
    await nowhere.aclose()


async def test_an_impossible_address_is_a_matter_of_configuration():
    """A base_url without http:// is not worth a retry."""
    lost = GeminiProvider(api_key=KEY, base_url="ftp://127.0.0.1/")
    assert isinstance(await failure_of(lost), ProviderMisconfigured)
    await lost.aclose()


async def test_vertex_without_credentials_says_how_to_log_in(fake, monkeypatch, tmp_path):
    """A project needs default credentials; without them nothing is sent."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    for base_url in (fake.url, ""):
        vertex = GeminiProvider(vertexai=True, project="p", base_url=base_url)
        error = await failure_of(vertex)
        assert isinstance(error, ProviderMisconfigured)
        assert "gcloud auth" in error.remedy
    assert fake.stats.requests == 0


async def test_a_client_that_cannot_be_opened_is_misconfigured(fake, monkeypatch):
    """A broken proxy setting stops before anything is sent, and is not called ambiguous."""
    monkeypatch.setenv("ALL_PROXY", "gopher://nowhere")
    odd = GeminiProvider(api_key=KEY, base_url=fake.url)
    assert isinstance(await failure_of(odd), ProviderMisconfigured)


async def test_a_cancelled_request_stays_cancelled(fake, gemini):
    """Cancelling is not translated: the caller who cancelled must see it."""
    arrived = fake.arrival()
    fake.script(faults=[{"kind": "stall"}])
    running = asyncio.ensure_future(gemini.generate(a_request()))
    await asyncio.wait_for(asyncio.to_thread(arrived.wait), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
