"""The outbox over hours and between sweeps, on SQLite and PostgreSQL: delivered, once by id, on time."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from apps.receiver import Receiver
from blocks.webhook import Endpoint
from imagemill.delivering import IN_PERSON_S, outbox_row, replay, sweep
from imagemill.errors import RequestError
from imagemill.ledger import Ledger
from imagemill.ledger.database import open_transactions
from imagemill.netguard import Guard
from imagemill.request import BatchResult
from imagemill.webhook.delivery import JITTER, SCHEDULE_S
from tests.builders import image_result
from tests.unit.test_delivering import NOW, SECRET, Clock

SWEEP_S = 60


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url, clock):
    opened = Ledger(open_transactions(ledger_url), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def receiver():
    with Receiver(SECRET) as running:
        yield running


class Directory:
    """Knows every endpoint by name, and notes who was asked for when."""

    def __init__(self, receiver, clock):
        guard = Guard.of(receiver.private_host)
        self.endpoint = Endpoint(url=receiver.url, secret=SECRET, guard=guard)
        self.clock = clock
        self.asked = []

    async def __call__(self, name):
        self.asked.append((name, (self.clock() - NOW).total_seconds()))
        return self.endpoint


@pytest.fixture
def directory(receiver, clock):
    return Directory(receiver, clock)


async def queued(ledger, directory, count, *, prefix="run"):
    """Queue one event a run, each with an endpoint name of its own; returns their ids."""
    ids = []
    for number in range(count):
        run_id = f"{prefix}-{number:03}"
        result = BatchResult.of(run_id, (image_result(),))
        row = outbox_row(result, directory.endpoint, name=run_id, now=directory.clock())
        await ledger.queue_event(row)
        ids.append(row.event_id)
    return ids


async def test_a_receiver_down_for_an_hour_gets_every_event_once_at_the_schedules_times(
    ledger, clock, receiver, directory
):
    """No server listens for an hour; each event is tried when its schedule says, then taken once."""
    ids = await queued(ledger, directory, 10)
    port = receiver.port
    receiver.stop()
    for _ in range(60):
        clock.pass_s(SWEEP_S)
        rows = await sweep(ledger, directory)
        assert {row.state for row in rows} <= {"pending"}
    with Receiver(SECRET, port=port) as back:
        for _ in range(180):
            clock.pass_s(SWEEP_S)
            await sweep(ledger, directory)
        taken = Counter(event.id for event in back.received)
        assert taken == dict.fromkeys(ids, 1)
        assert back.duplicate_count == 0
    assert await ledger.count_events() == {"delivered": 10}
    for run_id in sorted({name for name, _ in directory.asked}):
        times = [at for name, at in directory.asked if name == run_id]
        assert IN_PERSON_S <= times[0] <= IN_PERSON_S + SWEEP_S
        gaps = [later - earlier for earlier, later in pairwise(times)]
        for delay_s, gap in zip(SCHEDULE_S[1:], gaps, strict=False):
            assert delay_s * (1 - JITTER) <= gap <= delay_s * (1 + JITTER) + SWEEP_S
        assert times[-1] > 3600 >= times[-2]


async def test_two_sweeps_at_the_same_moment_deliver_no_row_twice(
    ledger, ledger_url, clock, receiver, directory
):
    """Each row is claimed in the transaction that reads it due; another machine's sweep skips it."""
    ids = await queued(ledger, directory, 40)
    clock.pass_s(IN_PERSON_S + 1)
    other = Ledger(open_transactions(ledger_url), clock=clock)
    try:
        shares = await asyncio.gather(*(sweep(one, directory) for one in (ledger, other, ledger)))
    finally:
        other.close()
    assert sorted(row.event_id for share in shares for row in share) == sorted(ids)
    assert receiver.duplicate_count == 0
    assert len(receiver.received) == 40


async def test_a_receiver_that_answers_nothing_holds_nobody_up(ledger, clock, receiver, directory):
    """While one delivery waits for its answer, the others of the sweep go out."""
    ids = await queued(ledger, directory, 12)
    clock.pass_s(IN_PERSON_S + 1)
    others_done = asyncio.Event()

    async def endpoint_of(name):
        if name == "run-000":
            await others_done.wait()
        endpoint = await directory(name)
        if len(directory.asked) == 11:
            others_done.set()
        return endpoint

    rows = await sweep(ledger, endpoint_of)
    assert sorted(row.event_id for row in rows) == ids
    assert directory.asked[-1][0] == "run-000"


async def test_what_a_dead_sweep_had_claimed_is_due_again(ledger, clock, receiver, directory):
    """A claim is a lease: nobody holds an event for ever."""
    (event_id,) = await queued(ledger, directory, 1)
    clock.pass_s(IN_PERSON_S + 1)
    assert (await ledger.claim_event(for_s=IN_PERSON_S)).event_id == event_id
    assert await sweep(ledger, directory) == []
    clock.pass_s(IN_PERSON_S + 1)
    assert [row.state for row in await sweep(ledger, directory)] == ["delivered"]


async def test_a_slower_twin_cannot_undo_a_delivery(ledger, clock, directory):
    """Delivered stays delivered, whatever an attempt that began earlier writes afterwards."""
    (event_id,) = await queued(ledger, directory, 1)
    clock.pass_s(IN_PERSON_S + 1)
    slow = await ledger.claim_event(for_s=1)
    clock.pass_s(2)
    await sweep(ledger, directory)
    await ledger.update_event(slow.model_copy(update={"attempts": 7}))
    row = await ledger.event(event_id)
    assert (row.state, row.attempts) == ("delivered", 1)


async def given_up(ledger, directory, receiver, count, **options):
    """Queue events whose receiver says 410 to each."""
    ids = await queued(ledger, directory, count, **options)
    directory.clock.pass_s(IN_PERSON_S + 1)
    receiver.answer_next(410, times=count)
    assert {row.state for row in await sweep(ledger, directory)} == {"dead"}
    return ids


async def test_dead_letters_are_seen_and_sent_again_under_their_ids(
    ledger, clock, receiver, directory
):
    """Their schedule begins anew, so what fails again is tried again; delivered ones stay out."""
    await queued(ledger, directory, 1, prefix="fine")
    clock.pass_s(IN_PERSON_S + 1)
    await sweep(ledger, directory)
    ids = await given_up(ledger, directory, receiver, 3)
    dead = await ledger.list_events(state="dead")
    assert sorted(row.event_id for row in dead) == ids
    receiver.answer_next(503)
    rows = await replay(ledger, directory, dead=True)
    assert [row.event_id for row in rows] == ids
    assert sorted(row.state for row in rows) == ["delivered", "delivered", "pending"]
    (waits,) = [row for row in rows if row.state == "pending"]
    assert (waits.attempts, waits.last_error) == (1, "127.0.0.1 answered 503.")
    clock.pass_s(60)
    await sweep(ledger, directory)
    assert await ledger.count_events() == {"delivered": 4}
    assert receiver.duplicate_count == 0
    assert await replay(ledger, directory, dead=True) == []


async def test_of_a_run_what_is_not_delivered_is_sent_and_a_delivered_event_only_by_its_id(
    ledger, clock, receiver, directory
):
    """Who asks for a run twice sends nothing twice; who names an event means it."""
    (event_id,) = await given_up(ledger, directory, receiver, 1)
    assert [row.state for row in await replay(ledger, directory, run_id="run-000")] == ["delivered"]
    assert await replay(ledger, directory, run_id="run-000", dead=True) == []
    assert [row.attempts for row in await replay(ledger, directory, event_ids=[event_id])] == [1]
    assert [event.id for event in receiver.received] == [event_id]
    assert receiver.duplicate_count == 1


async def test_an_unknown_event_or_run_is_refused_and_nothing_is_sent(ledger, receiver, directory):
    """A typing mistake beside a right id sends neither."""
    (event_id,) = await queued(ledger, directory, 1)
    with pytest.raises(RequestError, match="no webhook event msg_nobody"):
        await replay(ledger, directory, event_ids=[event_id, "msg_nobody"])
    with pytest.raises(RequestError, match="Run nowhere has no webhook event"):
        await replay(ledger, directory, run_id="nowhere")
    assert receiver.answered == []
    assert await replay(ledger, directory) == []


async def test_a_replay_leaves_alone_what_a_sweep_is_delivering(ledger, clock, receiver, directory):
    """Whoever claimed a row first sends it; the replay reports it as it is."""
    (event_id,) = await queued(ledger, directory, 1)

    class Quicker(Ledger):
        """A sweep is faster each time."""

        async def requeue_events(self, *arguments, **options):
            found = await super().requeue_events(*arguments, **options)
            await ledger.claim_event(for_s=IN_PERSON_S)
            return found

    (row,) = await replay(Quicker(ledger._db, clock=clock), directory, event_ids=[event_id])
    assert (row.state, row.next_attempt_at) == ("pending", NOW + timedelta(seconds=IN_PERSON_S))
    assert receiver.answered == []


async def test_events_are_listed_newest_first(ledger, clock, directory):
    """By state and by run, so many at most."""
    for number in range(3):
        await queued(ledger, directory, 1, prefix=f"r{number}")
        clock.pass_s(1)
    assert [row.run_id for row in await ledger.list_events()] == ["r2-000", "r1-000", "r0-000"]
    assert [row.run_id for row in await ledger.list_events(limit=1)] == ["r2-000"]
    assert [row.run_id for row in await ledger.list_events(run_id="r1-000")] == ["r1-000"]
    assert await ledger.list_events(state="dead") == []
