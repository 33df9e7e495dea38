"""The ledger, on SQLite and on PostgreSQL: the same promises on both."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, text

from imagemill.errors import AmbiguousOutcome, KeyHeld, LedgerError
from imagemill.ledger import Ask, Granted, Ledger, Orphaned, Reused, RunRow, open_ledger
from imagemill.ledger.database import HEAD, make_engine, open_transactions
from imagemill.ledger.holder import holder, is_dead
from imagemill.ledger.ledger import utc_now
from imagemill.ledger.values import OutboxRow
from tests.builders import ask, image_result, payment

PRICE = Decimal("0.0336")


class Clock:
    """A clock that moves when told to."""

    def __init__(self):
        self.now = utc_now()

    def __call__(self):
        return self.now

    def forward(self, **by):
        self.now += timedelta(**by)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url, clock):
    opened = Ledger(open_transactions(ledger_url), clock=clock)
    yield opened
    opened.close()


def run_row(clock, **changes):
    fields = {
        "id": "run-1", "kind": "batch", "lineage": "run-1", "batch_digest": "d" * 64,
        "state": "running", "holder": holder(), "total": 3,
        "created_at": clock(), "heartbeat_at": clock(),
    }  # fmt: skip
    return RunRow(**{**fields, **changes})


async def test_a_paid_key_is_reused_within_the_window(ledger):
    """Asking again for a paid key costs nothing and gives the same artifact."""
    granted = await ledger.reserve(ask())
    await ledger.paid(granted.reservation_id, payment(cost_usd=PRICE))
    again = await ledger.reserve(ask(run_id="run-2", lineage="run-2"))
    assert isinstance(again, Reused)
    assert again.cost_usd == PRICE
    assert again.artifact == payment().artifact
    assert (await ledger.money_of("run-1")).spent_usd == PRICE
    assert (await ledger.money_of("run-2")).spent_usd == 0


async def test_another_run_makes_a_new_image_after_the_window(ledger, clock):
    """A nightly batch makes new images: what another run paid 16 minutes ago is not reused."""
    granted = await ledger.reserve(ask())
    await ledger.paid(granted.reservation_id, payment())
    clock.forward(minutes=16)
    assert isinstance(await ledger.reserve(ask(run_id="run-2", lineage="run-2")), Granted)


async def test_a_resumed_run_reuses_its_own_for_ever(ledger, clock):
    """A chain of resumes pays nothing twice, however late it is continued."""
    granted = await ledger.reserve(ask())
    await ledger.paid(granted.reservation_id, payment())
    clock.forward(days=40)
    assert isinstance(await ledger.reserve(ask(run_id="run-2", lineage="run-1")), Reused)


async def test_a_key_on_the_wire_is_held(ledger):
    """Two live processes never send the same key at the same time."""
    await ledger.reserve(ask())
    with pytest.raises(KeyHeld) as caught:
        await ledger.reserve(ask(run_id="run-2", lineage="run-2"))
    assert caught.value.retryable


async def test_fifty_twins_are_granted_once(ledger):
    """Of fifty that ask for one key at the same moment, exactly one may pay."""

    async def one(number):
        try:
            return await ledger.reserve(ask(run_id=f"run-{number}", lineage=f"run-{number}"))
        except KeyHeld:
            return None

    answers = await asyncio.gather(*(one(n) for n in range(50)))
    assert sum(isinstance(answer, Granted) for answer in answers) == 1


async def test_two_connections_grant_once(ledger, ledger_url):
    """Two processes' ledgers on one database grant a key once between them."""
    other = open_ledger(ledger_url)
    try:

        async def one(which, number):
            try:
                return await which.reserve(ask(key=f"{number:064x}"))
            except KeyHeld:
                return None

        answers = await asyncio.gather(
            *(one(which, n) for n in range(30) for which in (ledger, other))
        )
    finally:
        other.close()
    assert sum(isinstance(answer, Granted) for answer in answers) == 30


async def test_a_dead_holder_leaves_an_orphan(ledger):
    """The key of a killed process is not held for ever: it is handed over to be settled."""
    await ledger.reserve(ask(holder=f"{holder().split(':')[0]}:999999999:1"))
    answer = await ledger.reserve(ask(run_id="run-2"))
    assert isinstance(answer, Orphaned)
    assert answer.reserved_usd == PRICE


async def test_a_silent_holder_elsewhere_loses_its_lease(ledger, clock):
    """A process on another machine is believed for a lease, and longer while it beats."""
    await ledger.begin_run(run_row(clock, holder="elsewhere:1:1"))
    await ledger.reserve(ask(holder="elsewhere:1:1"))
    clock.forward(seconds=20)
    await ledger.beat("run-1")
    clock.forward(seconds=20)
    with pytest.raises(KeyHeld):
        await ledger.reserve(ask(run_id="run-2"))
    clock.forward(seconds=20)
    assert isinstance(await ledger.reserve(ask(run_id="run-2")), Orphaned)


async def test_a_failure_gives_the_money_back(ledger):
    """What certainly made no image is not counted, but the words it was billed for are."""
    granted = await ledger.reserve(ask())
    assert (await ledger.money_of("run-1")).reserved_usd == PRICE
    await ledger.failed(granted.reservation_id, error_class="blocked", cost_usd=Decimal("0.0001"))
    money = await ledger.money_of("run-1")
    assert (money.spent_usd, money.reserved_usd) == (Decimal("0.0001"), 0)
    assert isinstance(await ledger.reserve(ask()), Granted)


async def test_an_ambiguous_outcome_is_spent_and_not_resent(ledger):
    """A lost answer counts as spent, blocks its key, and is paid again only on request."""
    granted = await ledger.reserve(ask())
    assert await ledger.ambiguous(granted.reservation_id, error_class="timeout") == PRICE
    money = await ledger.money_of("run-1")
    assert (money.spent_usd, money.ambiguous_usd) == (PRICE, PRICE)
    with pytest.raises(AmbiguousOutcome, match="--resend-ambiguous") as caught:
        await ledger.reserve(ask(run_id="run-2", lineage="run-2"))
    assert caught.value.cost_usd == PRICE
    resent = await ledger.reserve(ask(run_id="run-2", lineage="run-2", resend_ambiguous=True))
    assert isinstance(resent, Granted)


async def test_an_answer_that_turns_up_settles_the_ambiguous_charge(ledger):
    """The late answer's true price replaces the reserved one; it is not added to it."""
    granted = await ledger.reserve(ask())
    await ledger.ambiguous(granted.reservation_id, error_class="crashed")
    await ledger.paid(granted.reservation_id, payment(cost_usd=Decimal("0.03")))
    assert (await ledger.money_of("run-1")).spent_usd == Decimal("0.03")


async def test_a_reservation_is_closed_once(ledger):
    """A charge is never written twice for one reservation."""
    granted = await ledger.reserve(ask())
    await ledger.paid(granted.reservation_id, payment(cost_usd=PRICE))
    with pytest.raises(LedgerError, match="charged"):
        await ledger.paid(granted.reservation_id, payment(cost_usd=PRICE))
    with pytest.raises(LedgerError, match="missing"):
        await ledger.failed(99_999, error_class="x")
    assert (await ledger.money_of("run-1")).spent_usd == PRICE


async def test_a_failing_neighbour_spoils_nobody(ledger):
    """Operations that share a commit fail alone."""
    granted = [await ledger.reserve(ask(key=f"{n:064x}")) for n in range(20)]
    outcomes = await asyncio.gather(
        *(ledger.paid(g.reservation_id, payment(cost_usd=PRICE)) for g in granted),
        *(ledger.failed(99_999, error_class="x") for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 20
    assert (await ledger.money_of("run-1")).spent_usd == 20 * PRICE


async def test_money_adds_up_exactly(ledger):
    """Ten thousand tenths of a cent are ten dollars, not 9.999999."""
    tenth = Decimal("0.0000000013")
    for n in range(7):
        granted = await ledger.reserve(ask(key=f"{n:064x}"))
        await ledger.paid(granted.reservation_id, payment(cost_usd=Decimal("0.1") + tenth))
    assert (await ledger.money_of("run-1")).spent_usd == Decimal("0.700000007")


async def test_placements_are_remembered(ledger):
    """An artifact that lies in a store is known to lie there, and only there."""
    digest = payment().artifact.digest
    await ledger.placed(digest, "s3://a")
    await ledger.placed(digest, "s3://a")
    assert await ledger.is_placed(digest, "s3://a")
    assert not await ledger.is_placed(digest, "s3://b")


async def test_a_crashed_batch_is_continued(ledger, clock):
    """The same batch started after a crash continues the crashed run's chain."""
    await ledger.begin_run(run_row(clock, holder=f"{holder().split(':')[0]}:999999999:1"))
    second = await ledger.begin_run(run_row(clock, id="run-2", lineage="run-2"))
    assert second.lineage == "run-1"
    assert second.resumed
    assert (await ledger.run("run-1")).state == "crashed"


async def test_a_finished_batch_starts_anew(ledger, clock):
    """Tomorrow's nightly batch is a new chain, and so is one beside a run that is alive."""
    await ledger.begin_run(run_row(clock))
    beside = await ledger.begin_run(run_row(clock, id="run-2", lineage="run-2"))
    await ledger.end_run("run-1", "completed", {"total": 3})
    await ledger.end_run("run-2", "completed_with_failures")
    after = await ledger.begin_run(run_row(clock, id="run-3", lineage="run-3"))
    assert (beside.lineage, after.lineage) == ("run-2", "run-3")


async def test_a_retried_run_continues_itself(ledger, clock):
    """A flow run that Prefect starts again keeps its row."""
    await ledger.begin_run(run_row(clock))
    await ledger.end_run("run-1", "crashed")
    again = await ledger.begin_run(run_row(clock))
    assert (again.state, again.lineage) == ("running", "run-1")
    assert len(await ledger.latest_runs()) == 1


async def test_results_are_read_back_in_input_order(ledger, clock):
    """A run's results survive the process, in input order, the last word on each."""
    await ledger.begin_run(run_row(clock))
    for index in (2, 0, 1):
        await ledger.keep_item("run-1", image_result(index=index, success=False))
    await ledger.keep_item("run-1", image_result(index=1))
    results = await ledger.items("run-1")
    assert [(r.index, r.success) for r in results] == [(0, False), (1, True), (2, False)]


async def test_events_are_told_in_order_from_where_one_left(ledger, clock):
    """A reader that comes back gets exactly what it missed."""
    await ledger.begin_run(run_row(clock))
    for number in range(3):
        await ledger.note("run-1", "image", {"n": number})
    first = (await ledger.events("run-1"))[0]
    rest = await ledger.events("run-1", after=first["id"])
    assert [event["data"]["n"] for event in rest] == [1, 2]


async def test_the_webhook_event_is_queued_with_the_runs_end(ledger, clock):
    """A run that ended has its event in the outbox, once, and due at its time."""
    await ledger.begin_run(run_row(clock))
    row = OutboxRow(
        event_id="msg_run-1_done", run_id="run-1", endpoint="https://x.example", type="t",
        url="https://x.example", body="{}", next_attempt_at=clock(), created_at=clock(),
    )  # fmt: skip
    await ledger.end_run("run-1", "completed", {}, event=row)
    await ledger.queue_event(row.model_copy(update={"body": "another"}))
    due = await ledger.claim_event(for_s=60)
    assert due.body == "{}"
    assert await ledger.claim_event(for_s=60) is None
    await ledger.update_event(due.model_copy(update={"state": "delivered", "attempts": 1}))
    assert (await ledger.event("msg_run-1_done")).attempts == 1
    assert await ledger.event("msg_nobody") is None


async def test_the_schema_is_what_the_migrations_make(ledger_url):
    """The code's tables and Alembic's are the same, so no install differs from another."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from imagemill.ledger.schema import metadata

    open_ledger(ledger_url).close()
    engine = make_engine(ledger_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_newest_version_is_the_one_that_skips_migrating():
    """A schema that is current opens without Alembic; HEAD must be Alembic's own head."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "imagemill:ledger/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_database_that_is_away_is_named_with_its_remedy(tmp_path):
    """No address, a wrong kind, a folder that cannot be made: each says what to check."""
    (tmp_path / "file").write_text("")
    for url, word in [
        ("nonsense", "not a database address"),
        ("mysql://x/y", "SQLite or PostgreSQL"),
        (f"sqlite:///{tmp_path}/file/ledger.db", "IMAGEMILL_HOME"),
        ("postgresql://postgres@127.0.0.1:1/none", "running"),
    ]:
        with pytest.raises(LedgerError, match=word):
            open_ledger(url)


async def test_a_lost_table_is_our_error_without_its_parameters(ledger, ledger_url):
    """A database error reaches nobody with the statement's values in it."""
    engine = make_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE placements"))
    engine.dispose()
    with pytest.raises(LedgerError) as caught:
        await ledger.placed("canary", "canary-store")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_holders_are_told_apart():
    """This process lives; a number that is nobody's is dead; a stranger's is unknown."""
    assert not is_dead(holder())
    host, pid, _ = holder().rsplit(":", 2)
    assert is_dead(f"{host}:{pid}:1")
    assert not is_dead("elsewhere:1:1")
    assert not is_dead("nonsense")
    assert Ask.model_fields["holder"].annotation is str


TWIN = "e" * 64
"""The same image's key at another provider."""


def asks(key, other, **more):
    return ask(key=key, alternatives=(other,), **more)


async def test_what_another_route_drew_is_reused_and_says_who_drew_it(ledger):
    """A fallback's image is this image: nobody pays for it a second time."""
    granted = await ledger.reserve(ask(key=TWIN, provider="sketch", model="sketch-1"))
    await ledger.paid(granted.reservation_id, payment())
    found = await ledger.reserve(asks("f" * 64, TWIN, run_id="run-2", lineage="run-2"))
    assert isinstance(found, Reused)
    assert (found.key, found.provider, found.model) == (TWIN, "sketch", "sketch-1")


async def test_its_own_image_goes_before_another_routes(ledger):
    """Both were paid once: the one that this route would draw is taken."""
    for key in ("f" * 64, TWIN):
        granted = await ledger.reserve(ask(key=key))
        await ledger.paid(granted.reservation_id, payment())
    assert (await ledger.reserve(asks("f" * 64, TWIN))).key == "f" * 64


async def test_a_style_lock_takes_no_other_models_image_but_heeds_what_is_out_there(ledger):
    """Paid elsewhere does not do; on the wire or in doubt elsewhere still counts."""
    granted = await ledger.reserve(ask(key=TWIN))
    with pytest.raises(KeyHeld):
        await ledger.reserve(asks("f" * 64, TWIN, own_only=True))
    await ledger.paid(granted.reservation_id, payment())
    assert isinstance(await ledger.reserve(asks("f" * 64, TWIN, own_only=True)), Granted)


async def test_what_is_out_in_doubt_or_orphaned_at_another_route_counts(ledger):
    """Held by a live twin, lost, or left by a dead process: under whichever key."""
    granted = await ledger.reserve(ask(key=TWIN))
    with pytest.raises(KeyHeld):
        await ledger.reserve(asks("f" * 64, TWIN))
    await ledger.ambiguous(granted.reservation_id, error_class="ambiguous")
    with pytest.raises(AmbiguousOutcome) as doubt:
        await ledger.reserve(asks("f" * 64, TWIN))
    assert doubt.value.key == TWIN
    resent = await ledger.reserve(asks("f" * 64, TWIN, resend_ambiguous=True))
    await ledger.failed(resent.reservation_id, error_class="unavailable")
    left = await ledger.reserve(ask(key=TWIN, holder=f"{holder().split(':')[0]}:{2**22 + 7}:1"))
    orphan = await ledger.reserve(asks("f" * 64, TWIN))
    assert (orphan.key, orphan.reservation_id) == (TWIN, left.reservation_id)


async def test_twins_with_their_routes_in_another_order_send_one_request_and_never_deadlock(
    ledger, ledger_url
):
    """Fifty images, each asked by two processes at once, whose fallbacks are each other's first."""
    other = Ledger(open_transactions(ledger_url))
    pairs = [(f"{number:064x}", f"{number + 1000:064x}") for number in range(50)]

    async def one(mine, key, alternative, run):
        try:
            return await mine.reserve(asks(key, alternative, run_id=run, lineage=run))
        except KeyHeld:
            return None

    twins = ((one(ledger, a, b, "run-1"), one(other, b, a, "run-2")) for a, b in pairs)
    answers = await asyncio.gather(*(ask for pair in twins for ask in pair))
    other.close()
    assert sum(isinstance(answer, Granted) for answer in answers) == 50


async def test_more_routes_are_no_more_statements(ledger):
    """A reservation is as quick with a fallback as without one."""
    await ledger.reserve(ask())  # connects and opens the accounts
    counted = []
    engine = ledger._db._engine
    event.listen(engine, "before_cursor_execute", lambda *said: counted.append(said[2]))
    numbers = []
    for key, alternatives in (("a" * 64, ()), ("b" * 64, ("c" * 64, "d" * 64, "e" * 64))):
        counted.clear()
        await ledger.reserve(ask(key=key, alternatives=alternatives))
        numbers.append(len(counted))
    assert numbers[0] == numbers[1]


async def test_the_chain_goes_on_while_it_is_fresh(ledger, clock):
    """Crashed at night, finished in the morning, asked again a minute later: nothing is paid anew.

    The images of the night are older than the reuse window then; they count as this run's own."""
    await ledger.begin_run(run_row(clock, holder="elsewhere:1:1"))
    granted = await ledger.reserve(ask())
    await ledger.paid(granted.reservation_id, payment())
    clock.forward(hours=7)
    morning = await ledger.begin_run(
        run_row(clock, id="run-2", lineage="run-2"), reuse_within_s=900
    )
    await ledger.end_run(morning.id, "completed_with_failures")
    clock.forward(minutes=1)
    again = await ledger.begin_run(run_row(clock, id="run-3", lineage="run-3"), reuse_within_s=900)
    assert again.lineage == "run-1"
    assert isinstance(await ledger.reserve(ask(run_id="run-3", lineage=again.lineage)), Reused)
    await ledger.end_run(again.id, "completed")
    clock.forward(minutes=16)
    tomorrow = await ledger.begin_run(
        run_row(clock, id="run-4", lineage="run-4"), reuse_within_s=900
    )
    assert tomorrow.lineage == "run-4"


@pytest.mark.parametrize("ledger_url", ["postgres"], indirect=True)
async def test_a_database_that_is_away_for_a_moment_is_waited_for(ledger_url, monkeypatch):
    """A PostgreSQL that is restarted: what broke before its commit is done again."""
    from sqlalchemy.exc import OperationalError

    from imagemill.ledger import database

    monkeypatch.setattr(database, "RECONNECT_POLL_S", 0.0)
    transactions = open_transactions(ledger_url)
    calls = []

    def breaks_twice(connection):
        calls.append(connection)
        if len(calls) < 3:
            raise OperationalError("SELECT 1", {}, Exception(), connection_invalidated=True)
        return "done"

    assert await transactions.run(breaks_twice) == "done"
    assert len(calls) == 3
    transactions.close()
