"""A webhook event is signed as Standard Webhooks says, holds no prompt, and is tried once a call."""

import json
import random
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import httpx
import pytest
from standardwebhooks import Webhook

from apps.receiver import Receiver, main
from imagemill.errors import RequestError, WebhookError
from imagemill.netguard import Guard, guarded_client
from imagemill.request import BatchResult, ImageResult
from imagemill.webhook import (
    SCHEDULE_S,
    DeliveryReport,
    WebhookEvent,
    batch_event,
    check_secret,
    deliver,
    delivery,
    next_attempt,
    sign,
)
from imagemill.webhook.delivery import retry_after_s
from tests.wire.loopback import endless, loopback, says

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
LOOPBACK = Guard.of("127.0.0.1")
CANARY = "canary prompt words"


def image(index, **changes):
    fields = {
        "index": index, "prompt": CANARY, "success": True, "status": "made", "key": "k" * 64,
        "provider": "sketch", "model": "sketch-1",
        "local_path": f"/spool/{CANARY}.png", "url": f"https://cdn.example/{index}.png",
        "sha256": "ab" * 32, "media_type": "image/png", "width_px": 1024, "height_px": 1024,
        "size_bytes": 1_500_000, "cost_usd": Decimal("0.04"),
    }  # fmt: skip
    return ImageResult(**{**fields, **changes})


def failed(index):
    return image(index, success=False, status="failed", url=None, error=f"{CANARY} was refused.",
                 error_class="blocked")  # fmt: skip


def batch(*results, run_id="run_01"):
    return BatchResult.of(
        run_id, results, provider="sketch", model="sketch-1", style_name="Flat Corporate",
        manifest_url="https://cdn.example/manifest.json",
    )  # fmt: skip


# Made with standardwebhooks 1.1.0; the last one is the specification's own example.
VECTORS = (
    (SECRET, "msg_run_01_completed", 1795237200,
     '{"type":"batch.completed","timestamp":"2026-11-21T05:00:00Z","data":{"id":"run_01","status":"succeeded"}}',
     "v1,Is8r7gfdQjvxP7JO+/G1YQvKd2R8RPsOoXz9Ft0PEfc="),
    (SECRET, "msg_run_01_completed", 1795237200, "{}",
     "v1,zcPc4H54zNDhj9VXzcGKJZgd12FEcALGaPdOjF8oKHs="),
    (SECRET, "msg_run_01_completed", 1795237200, '{"p":"café 漢"}',
     "v1,kS7iFdMSwuo71+WjWp3BPE4osgxqCF1yKZYAID8yfMc="),
    (OTHER, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}',
     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
)  # fmt: skip


@pytest.mark.parametrize(("secret", "event_id", "seconds", "body", "signature"), VECTORS)
@pytest.mark.parametrize("hours_east", [0, 9, -7])
def test_signatures_match_the_vectors(secret, event_id, seconds, body, signature, hours_east):
    """The same moment signs the same, in whatever time zone it is said."""
    at = datetime.fromtimestamp(seconds, tz=timezone(timedelta(hours=hours_east)))
    assert sign(secret, event_id, at=at, body=body.encode()) == {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
    }


def test_while_a_secret_is_replaced_both_sign():
    """A receiver that knows only one of the two secrets is content."""
    headers = sign(f"{SECRET} {OTHER}", "msg_1", at=datetime.now(UTC), body=b"{}")
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(b"{}", headers) == {}


@pytest.mark.parametrize(
    "secret",
    ["", "   ", "whsec_", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_AAECAwQ=",
     "whsec_" + "A" * 31, "whsec_" + "A" * 100, "whsec_not base64!", "whsec_é" + "A" * 40,
     SECRET + " hunter2hunter2hunter2hunter2hunter2", "whsec_" + "-_" * 20],
)  # fmt: skip
def test_an_unusable_secret_is_explained_and_not_repeated(secret):
    """Too short, too long or not base64: the message says what a secret is, not what was given."""
    with pytest.raises(RequestError, match="24 to 64 random bytes") as refused:
        check_secret(secret)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "secret", [SECRET, f"{SECRET} {OTHER}", "whsec_" + "A" * 32, "whsec_" + "A" * 86]
)
def test_usable_secrets_pass(secret):
    """24 to 64 bytes, with or without padding, one or several."""
    check_secret(secret)


def test_a_dotted_id_and_a_naive_time_are_not_signed():
    """Both would sign something else than the receiver reads."""
    with pytest.raises(WebhookError, match=r"'\.'"):
        sign(SECRET, "msg.1", at=AT, body=b"{}")
    with pytest.raises(WebhookError, match="aware"):
        sign(SECRET, "msg_1", at=datetime(2026, 11, 21), body=b"{}")  # noqa: DTZ001


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ((image(0), image(1)), "batch.completed"),
        ((image(0), failed(1)), "batch.partial"),
        ((failed(0), failed(1)), "batch.failed"),
    ],
)
def test_the_type_tells_how_the_batch_ended(results, kind):
    """All made, some made, none made."""
    event = batch_event(batch(*results), at=AT)
    assert event.type == kind
    assert event.id == f"msg_run_01_{kind.removeprefix('batch.')}"
    assert event.data["status"] == kind.removeprefix("batch.")


def test_with_a_fallback_everybody_who_drew_is_named():
    """With the number of images; whoever was only asked is not."""
    other = {"provider": "gemini/team", "model": "gemini-3"}
    event = batch_event(batch(image(0), image(1, **other), image(2, **other), failed(3)), at=AT)
    assert event.data["drawn_by"] == [
        {**other, "images": 2},
        {"provider": "sketch", "model": "sketch-1", "images": 1},
    ]
    assert batch_event(batch(failed(0)), at=AT).data["drawn_by"] == []


def test_the_id_is_the_same_for_the_same_run_and_has_no_dot():
    """A task that runs again repeats the id, so the receiver can skip it."""
    result = batch(image(0), run_id="run.01.x")
    assert batch_event(result).id == batch_event(result).id == "msg_run-01-x_completed"
    assert batch_event(result).timestamp.tzinfo is not None


def test_the_body_says_what_the_documentation_shows():
    """docs/webhooks.md shows this very body; here it is made again."""
    event = batch_event(batch(image(0), failed(1)), at=AT)
    assert json.loads(event.body()) == json.loads(_documented("json"))
    assert event.body() == event.body()


def _documented(language):
    page = open("docs/webhooks.md", encoding="utf-8").read()  # noqa: PTH123, SIM115
    return re.search(rf"```{language}\n(.*?)```", page, re.DOTALL).group(1)


def test_no_prompt_is_in_an_event():
    """Neither prompts nor error messages nor local paths leave the house."""
    assert CANARY not in batch_event(batch(image(0), failed(1))).body().decode()


def test_a_long_event_carries_links_only():
    """Above 20 kB the images are left to the manifest."""
    whole = batch_event(batch(*(image(i) for i in range(50)))).body()
    short = batch_event(batch(*(image(i) for i in range(500)))).body()
    assert len(whole) <= 20_000
    assert len(json.loads(whole)["data"]["images"]) == 50
    data = json.loads(short)["data"]
    assert data["truncated"] is True
    assert "images" not in data
    assert "errors" not in data
    assert data["manifest_url"] == "https://cdn.example/manifest.json"
    assert data["counts"]["succeeded"] == 500


def test_the_body_is_utf8_and_its_time_is_utc():
    """Local times and letters beyond ASCII come out in one form."""
    at = AT.astimezone(timezone(timedelta(hours=9)))
    event = WebhookEvent(id="msg_1", type="batch.started", timestamp=at, data={"é": "漢"})
    assert event.body().decode() == (
        '{"type":"batch.started","timestamp":"2026-11-21T05:00:00Z","data":{"é":"漢"}}'
    )


async def send(receiver, event_id="msg_1", body=None, **changes):
    body = body or WebhookEvent(
        id=event_id, type="batch.completed", timestamp=AT, data={"run_id": "r"}
    ).body()  # fmt: skip
    fields = {"url": receiver.url, "secret": SECRET, "guard": LOOPBACK}
    return await deliver(event_id, body, **{**fields, **changes})


async def test_an_event_arrives_once_however_often_it_is_sent():
    """A delivered event verifies at the receiver, which takes its second copy for what it is."""
    with Receiver(SECRET) as receiver:
        assert await send(receiver) == DeliveryReport(delivered=True, status_code=200)
        assert (await send(receiver)).delivered
        assert [(event.id, event.type) for event in receiver.wait_for(1)] == [
            ("msg_1", "batch.completed")
        ]
        assert receiver.duplicate_count == 1


async def test_a_client_of_the_callers_stays_open():
    """Many deliveries may share one guarded client."""
    with Receiver(SECRET) as receiver:
        async with guarded_client(LOOPBACK) as client:
            assert (await send(receiver, "msg_1", client=client)).delivered
            assert (await send(receiver, "msg_2", client=client)).delivered
        assert len(receiver.received) == 2


@pytest.mark.parametrize(
    ("status", "headers", "report"),
    [
        (204, {}, DeliveryReport(delivered=True, status_code=204)),
        (400, {}, {"error": "127.0.0.1 answered 400."}),
        (410, {}, {"permanent": True, "error": "127.0.0.1 answered 410: it wants no more events."}),
        (429, {"Retry-After": "17"}, {"retry_after_s": 17.0, "error": "127.0.0.1 answered 429."}),
        (502, {"Retry-After": "3"}, {"retry_after_s": 3.0, "error": "127.0.0.1 answered 502."}),
        (503, {"Retry-After": "x"}, {"error": "127.0.0.1 answered 503."}),
        (504, {}, {"error": "127.0.0.1 answered 504."}),
        (500, {"Retry-After": "17"}, {"error": "127.0.0.1 answered 500."}),
    ],
)
async def test_only_2xx_is_delivered(status, headers, report):
    """Anything else is a failure, said in one sentence; 410 is for good; some may ask to wait."""
    if isinstance(report, dict):
        report = DeliveryReport(**{"delivered": False, "status_code": status, **report})
    with Receiver(SECRET) as receiver:
        receiver.answer_next(status, headers=headers)
        assert await send(receiver) == report
        assert receiver.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_failures_and_are_not_followed(status):
    """An event never goes where a receiver points, not even with the caller's own client."""
    with Receiver(SECRET) as receiver:
        receiver.answer_next(status, headers={"Location": receiver.url})
        async with httpx.AsyncClient(follow_redirects=True) as client:
            report = await send(receiver, client=client)
        assert not report.delivered
        assert "redirects are not followed" in report.error
        assert receiver.answered == [status]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://169.254.169.254/", "ftp://x/"])
async def test_an_address_that_is_not_allowed_is_a_permanent_failure(url):
    """The report says so, with the remedy, and nothing is sent."""
    report = await deliver("msg_1", b"{}", url=url, secret=SECRET, guard=Guard())
    assert report.permanent
    assert not report.delivered
    assert report.error


async def test_a_receiver_that_is_away_may_be_tried_again():
    """No connection, no answer or half an answer: not delivered, not for good."""
    with Receiver(SECRET) as receiver:
        pass
    report = await send(receiver)
    assert report == DeliveryReport(
        delivered=False, error="127.0.0.1 could not be reached (ConnectError)."
    )
    async with loopback(says(b"")) as server:
        report = await send(server)
    assert report.error == "127.0.0.1 could not be reached (RemoteProtocolError)."
    assert not report.permanent


async def test_a_slow_receiver_meets_the_time_out(monkeypatch):
    """A receiver that drips its answer's head does not hold us."""
    monkeypatch.setattr(delivery, "TIMEOUT_S", 0.1)
    async with loopback(endless(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause_s=0.01)) as server:
        report = await send(server)
    assert report == DeliveryReport(delivered=False, error="127.0.0.1 did not answer within 0.1 s.")


@pytest.mark.parametrize(("part", "pause_s"), [(b"x" * 10_000, 0.0), (b"x", 0.01)])
async def test_an_answer_without_end_is_not_read_to_the_end(monkeypatch, part, pause_s):
    """The status decides; of the rest at most 64 kB, and not for long, are read."""
    monkeypatch.setattr(delivery, "_DRAIN_S", 0.1)
    async with loopback(endless(b"HTTP/1.1 200 OK\r\n\r\n", part, pause_s=pause_s)) as server:
        assert (await send(server)).delivered


async def test_a_bad_secret_is_said_before_anything_is_sent():
    """An unusable secret is the operator's error, not the receiver's."""
    with Receiver(SECRET) as receiver:
        with pytest.raises(RequestError, match="whsec_"):
            await send(receiver, secret="hunter2")
        assert receiver.answered == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None), ("soon", None), ("-5", None), ("1.5", None), ("0", 0.0), (" 120 ", 120.0),
        ("9" * 400, 86_400.0), ("Sat, 21 Nov 2026 05:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 04:00:00 GMT", 0.0), ("Sat, 21 Nov 2026 05:01:00 -0000", 60.0),
        ("Sat, 21 Nov 2099 05:01:00 GMT", 86_400.0), ("Sat, 99 Nov 2026 05:01:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_its_forms(value, seconds):
    """Seconds or a date, at most a day; nonsense is as if nothing was said."""
    assert retry_after_s(value, AT) == seconds


def test_the_schedule_grows_with_jitter_and_ends():
    """At once, then after 5 s, 30 s, 2 min... give or take a fifth; then no more."""
    rng = random.Random(1)
    assert next_attempt(0, AT, rng=rng) == AT
    for attempt, delay_s in enumerate(SCHEDULE_S):
        wait_s = (next_attempt(attempt, AT, rng=rng) - AT).total_seconds()
        assert 0.8 * delay_s <= wait_s <= 1.2 * delay_s
    assert SCHEDULE_S[:6] == (0, 5, 30, 120, 600, 1800)
    assert next_attempt(len(SCHEDULE_S), AT, rng=rng) is None
    assert sum(SCHEDULE_S) * 1.2 < 86_400  # presigned URLs live a day


def test_a_receivers_wish_is_a_floor():
    """Whoever asks for an hour gets at least an hour; whoever asks for less gets the schedule."""
    rng = random.Random(1)
    asked = next_attempt(1, AT, rng=rng, retry_after_s=3600)
    assert asked == AT + timedelta(hours=1)
    assert next_attempt(3, AT, rng=rng, retry_after_s=1) > AT + timedelta(seconds=90)


def test_the_receiver_takes_only_what_is_signed(tmp_path):
    """Unsigned, ill-signed, old, huge and shapeless requests are refused; true ones are logged."""
    now, body = datetime.now(UTC), b'{"type":"t","timestamp":"x","data":{}}'
    log = tmp_path / "events.jsonl"

    def post(body, headers):
        return httpx.post(receiver.url, content=body, headers=headers, trust_env=False).status_code

    with Receiver(SECRET, log_path=log) as receiver:
        good = sign(SECRET, "msg_1", at=now, body=body)
        assert post(body, {}) == 401
        assert post(body + b" ", good) == 401
        assert post(body, {**good, "webhook-signature": "nonsense"}) == 401
        assert post(body, sign(OTHER, "msg_1", at=now, body=body)) == 401
        assert post(body, sign(SECRET, "msg_1", at=now - timedelta(hours=1), body=body)) == 401
        assert post(b"not json", sign(SECRET, "msg_1", at=now, body=b"not json")) == 401
        assert post(b"[]", sign(SECRET, "msg_1", at=now, body=b"[]")) == 400
        assert post(b"{}", sign(SECRET, "msg_1", at=now, body=b"{}")) == 400
        assert post(b"x" * 70_000, good) == 413
        assert post(iter([body]), good) == 411
        assert receiver.received == []
        assert post(body, good) == 200
        assert receiver.wait_for(1)[0].data == {}
    assert json.loads(log.read_text())["id"] == "msg_1"


def test_the_receiver_is_quiet_and_frees_its_port(capfd):
    """It starts, stops and starts again on its port, and writes nothing on the screen."""
    with Receiver(SECRET) as receiver:
        port = receiver.port
        assert receiver.private_host == f"127.0.0.1:{port}"
        with httpx.Client(trust_env=False) as client:
            client.post(receiver.url, content=b"{}")
    with Receiver(SECRET, port=port) as receiver:
        assert receiver.wait_for(1, timeout_s=0.01) == []
    receiver.stop()
    assert capfd.readouterr() == ("", "")


def test_the_receivers_command_prints_each_event(capsys, monkeypatch):
    """`python -m apps.receiver` says where it listens and what came, until it is interrupted."""

    def one_event(self):
        httpx_body = batch_event(batch(image(0))).body()
        headers = sign(SECRET, "msg_1", at=datetime.now(UTC), body=httpx_body)
        for _ in range(2):
            httpx.post(self.url, content=httpx_body, headers=headers, trust_env=False)
        yield from [next(events(self))]
        raise KeyboardInterrupt

    events = Receiver.events
    monkeypatch.setattr(Receiver, "events", one_event)
    main(["--port", "0", "--secret", SECRET])
    listening, event = capsys.readouterr().out.splitlines()
    assert listening.startswith("Listening on http://127.0.0.1:")
    assert json.loads(event)["type"] == "batch.completed"


def test_the_documented_check_accepts_a_true_event_only(monkeypatch):
    """The snippet in docs/webhooks.md runs as it is printed."""
    names = {}
    exec(compile(_documented("python"), "docs/webhooks.md", "exec"), names)
    body = batch_event(batch(image(0))).body()
    headers = sign(SECRET, "msg_1", at=datetime.now(UTC), body=body)
    assert names["verified"](SECRET, headers, body)["type"] == "batch.completed"
    for wrong in (
        {**headers, "webhook-id": "msg_2"},
        sign(OTHER, "msg_1", at=datetime.now(UTC), body=body),
        sign(SECRET, "msg_1", at=AT - timedelta(days=9), body=body),
    ):
        with pytest.raises(ValueError, match="webhook"):
            names["verified"](SECRET, wrong, body)
