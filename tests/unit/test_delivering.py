"""A webhook event is a row before it is a request: none is lost, each keeps its id, receivers may be away."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.receiver import Receiver
from blocks.webhook import Endpoint
from imagemill.delivering import IN_PERSON_S, after_attempt, attempt, outbox_row, sweep
from imagemill.errors import RequestError
from imagemill.ledger import open_ledger
from imagemill.netguard import Guard
from imagemill.request import BatchResult
from imagemill.webhook import DeliveryReport
from imagemill.webhook.delivery import SCHEDULE_S
from tests.builders import image_result

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


class Clock:
    """A time that is set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def pass_s(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    opened.now = clock
    yield opened
    opened.close()


@pytest.fixture
def receiver():
    with Receiver(SECRET) as running:
        yield running


@pytest.fixture
def endpoint(receiver):
    return Endpoint(url=receiver.url, secret=SECRET, guard=Guard.of(receiver.private_host))


def row_for(endpoint, run_id="run-1", now=NOW):
    result = BatchResult.of(run_id, (image_result(),))
    return outbox_row(result, endpoint, name="team", now=now)


def names(endpoint):
    """Know every endpoint's name."""

    async def endpoint_of(_name):
        return endpoint

    return endpoint_of


async def test_a_fresh_event_is_left_to_the_run_that_wrote_it(ledger, clock, endpoint, receiver):
    """The sweep takes it only a minute later, so it is not sent twice at once."""
    await ledger.queue_event(row_for(endpoint))
    assert await sweep(ledger, names(endpoint)) == []
    clock.pass_s(IN_PERSON_S + 1)
    (row,) = await sweep(ledger, names(endpoint))
    assert (row.state, row.attempts, row.last_status) == ("delivered", 1, 200)
    assert await sweep(ledger, names(endpoint)) == []
    assert [event.id for event in receiver.received] == [row.event_id]


async def test_a_receiver_that_was_away_gets_the_same_event_later(
    ledger, clock, endpoint, receiver
):
    """Same id, same bytes; when each attempt is due is written down."""
    row = row_for(endpoint)
    await ledger.queue_event(row)
    receiver.answer_next(503, times=2)
    after = await attempt(ledger, row, endpoint)
    assert (after.state, after.attempts, after.last_status) == ("pending", 1, 503)
    assert SCHEDULE_S[1] * 0.8 <= (after.next_attempt_at - NOW).total_seconds() <= 6
    for _ in range(2):
        clock.pass_s(60)
        (after,) = await sweep(ledger, names(endpoint))
    assert (after.state, after.attempts) == ("delivered", 3)
    assert [event.id for event in receiver.received] == [row.event_id]


def test_the_schedule_ends_and_the_row_is_dead(endpoint):
    """Delays grow to hours; after the last attempt nobody tries again."""
    row, delays = row_for(endpoint), []
    while row.state == "pending":
        row = after_attempt(row, DeliveryReport(delivered=False, error="away"), now=NOW)
        delays.append((row.next_attempt_at - NOW).total_seconds())
    assert (row.state, row.attempts) == ("dead", len(SCHEDULE_S))
    assert delays[:-1] == sorted(delays[:-1])
    assert row.last_error == "away"


def test_what_a_receiver_asks_for_is_waited(endpoint):
    """Retry-after is a floor below the schedule's own delay."""
    said = DeliveryReport(delivered=False, status_code=429, retry_after_s=900, error="slow")
    row = after_attempt(row_for(endpoint), said, now=NOW)
    assert row.next_attempt_at == NOW + timedelta(seconds=900)


async def test_a_receiver_that_is_gone_is_not_asked_again(ledger, endpoint, receiver):
    """410 ends it."""
    row = row_for(endpoint)
    await ledger.queue_event(row)
    receiver.answer_next(410)
    assert (await attempt(ledger, row, endpoint)).state == "dead"


async def test_an_endpoint_that_is_no_more_stops_nobody_else(ledger, clock, endpoint, receiver):
    """A deleted block or a forbidden address costs its own rows an attempt; the next is delivered."""
    for run_id in ("run-1", "run-2"):
        await ledger.queue_event(row_for(endpoint, run_id))
    clock.pass_s(IN_PERSON_S + 1)
    asked = []

    async def endpoint_of(name):
        asked.append(name)
        if len(asked) == 1:
            raise RequestError("No block webhook-endpoint/team.", remedy="Save it.")
        return endpoint

    rows = await sweep(ledger, endpoint_of)
    assert [row.state for row in rows] == ["pending", "delivered"]
    assert (rows[0].attempts, rows[0].last_error) == (1, "No block webhook-endpoint/team. Save it.")
    assert len(receiver.received) == 1


async def test_one_event_a_run_however_often_it_is_queued(ledger, clock, endpoint):
    """A run that ends twice (a retried flow) announces itself once."""
    for _ in range(2):
        await ledger.queue_event(row_for(endpoint))
    clock.pass_s(IN_PERSON_S + 1)
    assert len(await sweep(ledger, names(endpoint))) == 1
