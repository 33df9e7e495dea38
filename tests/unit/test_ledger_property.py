"""Under any order of asking, paying, failing, losing, crashing and resuming, the money is right."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import func, select

from imagemill.artifact import ArtifactRef
from imagemill.errors import AmbiguousOutcome, BudgetExceeded, KeyHeld
from imagemill.ledger import Ask, Granted, Orphaned, Reused, accounts, money
from imagemill.ledger.database import make_engine
from imagemill.ledger.schema import charges, metadata, reservations
from imagemill.ledger.values import Payment

KEYS = [f"{n:064x}" for n in range(4)]
RUNS = ["chain-a", "chain-b"]
ELSEWHERE = "another-host:1:1"  # its death shows only by a silent lease
CENT = Decimal("0.01")
cents = st.integers(1, 8).map(lambda n: n * CENT)


class LedgerMachine(RuleBasedStateMachine):
    """Two chains of runs, four keys, ceilings on a chain, a day and a deployment."""

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.engine = make_engine("sqlite://")
        self.connection = self.engine.connect()
        metadata.create_all(self.connection)
        self.now = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
        self.granted = {}  # reservation id -> (ask, state as the model sees it)
        self.above = {}  # account -> what providers billed above what was held
        self.stopped = set()  # accounts over their ceiling: nothing more may be granted

    def teardown(self):
        self.connection.close()
        self.engine.dispose()

    def attempt(self, operation):
        savepoint = self.connection.begin_nested()
        try:
            answer = operation()
        except Exception:
            savepoint.rollback()
            raise
        savepoint.commit()
        return answer

    @initialize(chain=cents, day=cents, nightly=cents)
    def ceilings(self, chain, day, nightly):
        accounts.cap_chain(self.connection, RUNS[0], chain * 3)
        accounts.set_ceiling(self.connection, "", day * 6, now=self.now)
        accounts.set_ceiling(self.connection, "nightly", nightly * 4, now=self.now)

    @rule(
        target=held, key=st.sampled_from(KEYS), lineage=st.sampled_from(RUNS), worst=cents,
        nightly=st.booleans(), resend=st.booleans(), window=st.sampled_from([0, 900]),
    )  # fmt: skip
    def ask(self, key, lineage, worst, nightly, resend, window):
        """A run asks; whatever the answer, it is one that the rows justify."""
        ask = Ask(
            key=key, run_id=f"{lineage}-{len(self.granted)}", lineage=lineage, holder=ELSEWHERE,
            provider="p", model="m", worst_case_usd=worst, resend_ambiguous=resend,
            reuse_within_s=window, deployment="nightly" if nightly else "",
        )  # fmt: skip
        open_before = self.states(key, "open")
        own = [state for (row_lineage, state) in self.rows(key) if row_lineage == lineage]
        try:
            answer = self.attempt(lambda: money.reserve(self.connection, ask, now=self.now))
        except (KeyHeld, AmbiguousOutcome, BudgetExceeded):
            return 0
        if isinstance(answer, Reused):
            assert self.granted[answer.reservation_id][0].key == key
            return 0
        if isinstance(answer, Orphaned):
            return answer.reservation_id  # whoever finds it settles it by one of the rules below
        assert isinstance(answer, Granted)
        assert not open_before, "one key was on the wire twice"
        assert "charged" not in own, "a chain paid for a key that it had paid"
        assert resend or "ambiguous" not in own, "an unclear outcome was sent again unasked"
        booked = set(accounts.accounts_of(lineage, ask.deployment, self.now))
        assert not booked & self.stopped, "a ceiling that is passed let another image through"
        self.granted[answer.reservation_id] = (ask, self.now)
        return answer.reservation_id

    @rule(reservation=consumes(held), cost=cents, name=st.sampled_from("xyz"))
    def pay(self, reservation, cost, name):
        """The answer came; now and then a provider bills above the worst case."""
        if not self.is_open(reservation, "open", "ambiguous"):
            return
        ask, at = self.granted[reservation]
        artifact = ArtifactRef(
            digest=name.encode().hex() * 32, size_bytes=1, width_px=1, height_px=1
        )
        payment = Payment(artifact=artifact, cost_usd=cost)
        self.attempt(lambda: money.paid(self.connection, reservation, payment, now=self.now))
        if cost > ask.worst_case_usd:
            more = cost - ask.worst_case_usd
            for account in accounts.accounts_of(ask.lineage, ask.deployment, at):
                self.above[account] = self.above.get(account, Decimal(0)) + more

    @rule(reservation=consumes(held), words=st.booleans())
    def fail(self, reservation, words):
        """No image; words of a refused prompt may cost a little."""
        if self.is_open(reservation, "open"):
            cost = CENT if words else Decimal(0)
            self.attempt(
                lambda: money.failed(
                    self.connection, reservation, error_class="blocked", cost_usd=cost, now=self.now
                )
            )

    @rule(reservation=held)
    def lose(self, reservation):
        """The answer is lost; it may still turn up, so the reservation stays in the bundle."""
        if self.is_open(reservation, "open"):
            self.attempt(
                lambda: money.ambiguous(
                    self.connection, reservation, error_class="lost", now=self.now
                )
            )

    @rule(seconds=st.sampled_from([1, 40, 1_000, 10_000]))
    def time_passes(self, seconds):
        """Leases run out, the reuse window closes, a day ends."""
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.granted)
    @invariant()
    def every_account_is_what_its_rows_add_up_to(self):
        for name in self.names():
            booked = accounts.find(self.connection, name)
            counted = accounts.counted_anew(self.connection, name)
            assert booked.spent_usd == counted.spent_usd
            assert booked.reserved_usd == counted.reserved_usd

    @precondition(lambda self: self.granted)
    @invariant()
    def no_ceiling_is_passed_but_by_what_was_billed_above(self):
        for name in self.names():
            account = accounts.find(self.connection, name)
            if account.cap_usd is None:
                continue
            used = account.spent_usd + account.reserved_usd
            assert used <= account.cap_usd + self.above.get(name, Decimal(0))
            (self.stopped.add if used > account.cap_usd else self.stopped.discard)(name)

    def names(self):
        return {
            name
            for ask, at in self.granted.values()
            for name in accounts.accounts_of(ask.lineage, ask.deployment, at)
        }

    def rows(self, key):
        query = select(reservations.c.lineage, reservations.c.state)
        return [
            tuple(row) for row in self.connection.execute(query.where(reservations.c.key == key))
        ]

    def states(self, key, state):
        return [row for row in self.rows(key) if row[1] == state]

    def is_open(self, reservation, *states):
        query = select(func.count()).where(
            reservations.c.id == reservation, reservations.c.state.in_(states)
        )
        return bool(self.connection.execute(query).scalar())


LedgerMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.mark.timeout(300)
class TestLedger(LedgerMachine.TestCase):
    """Spent + reserved stays within every ceiling, no key is paid twice by one chain."""


def test_the_charges_of_a_reservation_never_exceed_what_it_was_billed():
    """A late answer settles the difference; it is not charged beside the ambiguous amount."""
    machine = LedgerMachine()
    machine.ceilings(8 * CENT, 8 * CENT, 8 * CENT)
    one = machine.ask(KEYS[0], RUNS[0], 8 * CENT, nightly=True, resend=False, window=0)
    machine.lose(one)
    machine.pay(one, 5 * CENT, "x")
    total = machine.connection.execute(select(func.sum(charges.c.amount_usd))).scalar()
    assert total == 5 * CENT
    machine.every_account_is_what_its_rows_add_up_to()
    machine.teardown()
