"""The ledger as the rest of the house sees it: one awaitable method a fact."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from imagemill.ledger import accounts, bills, mailbox, money, reading, runs, shelf
from imagemill.ledger.answers import AnswerBook
from imagemill.ledger.database import Transactions, open_transactions
from imagemill.ledger.settling import SettlingBook
from imagemill.ledger.values import (
    Account,
    Ask,
    Bills,
    Ceiling,
    EventState,
    Granted,
    Money,
    Offer,
    Orphaned,
    OutboxRow,
    Payment,
    Reused,
    RunRow,
    RunState,
)
from imagemill.request import ImageResult


def utc_now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


class Ledger(AnswerBook, SettlingBook):
    """Keys, reservations, charges, runs, events and outbox. Every method is one transaction.

    Raises (all methods):
        LedgerError: the database refused; the message names what to check.
    """

    def __init__(
        self, transactions: Transactions, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._db = transactions
        self.now = clock

    async def reserve(self, ask: Ask) -> Granted | Reused | Orphaned:
        """Hold the worst-case price of one image, or say why not. See `money.reserve`."""
        return await self._db.run(lambda c: money.reserve(c, ask, now=self.now()))

    async def reused(self, ask: Ask) -> Reused | None:
        """Return what is paid already for this key; None when it would have to be paid."""
        return await self._db.run(lambda c: money.reused(c, ask, now=self.now()))

    async def paid(self, reservation_id: int, payment: Payment) -> Account | None:
        """Turn a reservation into a charge; the bytes must be in the spool already.

        Returns an account that the provider's bill took above its ceiling, None as a rule.
        """
        return await self._db.run(lambda c: money.paid(c, reservation_id, payment, now=self.now()))

    async def failed(
        self, reservation_id: int, *, error_class: str, cost_usd: Decimal = Decimal(0)
    ) -> None:
        """Release a reservation: no image was made."""
        await self._db.run(
            lambda c: money.failed(
                c, reservation_id, error_class=error_class, cost_usd=cost_usd, now=self.now()
            )
        )

    async def ambiguous(self, reservation_id: int, *, error_class: str) -> Decimal:
        """Count a reservation as spent although no answer came; returns the amount."""
        return await self._db.run(
            lambda c: money.ambiguous(c, reservation_id, error_class=error_class, now=self.now())
        )

    async def placed(self, digest: str, store: str) -> None:
        """Remember that an artifact lies in a store."""
        await self._db.run(lambda c: shelf.placed(c, digest, store, now=self.now()))

    async def is_placed(self, digest: str, store: str) -> bool:
        """Tell whether an artifact was put in a store."""
        return await self._db.run(lambda c: shelf.is_placed(c, digest, store))

    async def money_of(self, run_id: str) -> Money:
        """Add up a run's spend, reservations and ambiguous outcomes."""
        return await self._db.run(lambda c: reading.money_of(c, run_id))

    async def begin_run(
        self,
        run: RunRow,
        *,
        continues: str = "",
        reuse_within_s: int = 0,
        max_cost_usd: Decimal | None = None,
    ) -> RunRow:
        """Open a run; it continues an unfinished or fresh one of the same batch, or the one named.

        `max_cost_usd` is the most that the whole chain of runs may cost; None is no limit.
        """

        def operation(connection: Connection) -> RunRow:
            row = runs.begin(
                connection, run, now=self.now(), continues=continues, reuse_within_s=reuse_within_s
            )
            accounts.cap_chain(connection, row.lineage, max_cost_usd)
            return row

        return await self._db.run(operation)

    async def queue_run(self, run: RunRow) -> None:
        """Write a run that another process begins: what it is handed is the id alone."""
        await self._db.run(lambda c: runs.queue(c, run))

    async def paid_keys(
        self, keys: Sequence[str], *, batch_digest: str, reuse_within_s: int
    ) -> set[str]:
        """Return which keys a run of this batch, begun now, would reuse. Writes nothing."""

        def operation(connection: Connection) -> set[str]:
            last = runs.to_continue(
                connection, batch_digest, now=self.now(), reuse_within_s=reuse_within_s
            )
            return reading.paid_keys(
                connection,
                keys,
                lineage=last.lineage if last else None,
                reuse_within_s=reuse_within_s,
                now=self.now(),
            )

        return await self._db.run(operation)

    async def paid_in(self, run: RunRow, keys: Sequence[str], *, reuse_within_s: int) -> set[str]:
        """Return which keys `run`, which has begun, would reuse."""
        return await self._db.run(
            lambda c: reading.paid_keys(
                c, keys, lineage=run.lineage, reuse_within_s=reuse_within_s, now=self.now()
            )
        )

    async def set_ceiling(self, per_day_usd: Decimal | None, *, deployment: str = "") -> None:
        """Set the most a UTC day may cost, for everything or one deployment; None lifts it.

        Raises:
            RequestError: not an amount.
        """
        await self._db.run(
            lambda c: accounts.set_ceiling(c, deployment, per_day_usd, now=self.now())
        )

    async def ceilings(self) -> list[Ceiling]:
        """Return every ceiling and where today stands; the first is everything's."""
        return await self._db.run(lambda c: accounts.standing(c, now=self.now()))

    async def chain(self, lineage: str) -> Account | None:
        """Return what a chain of runs has spent and reserved, and its ceiling."""
        name = accounts.chain_account(lineage)
        return await self._db.run(lambda c: accounts.find(c, name))

    async def billed_lately(self, run: RunRow, offers: Sequence[Offer]) -> list[Bills] | None:
        """Return what each offer was billed lately; None when no ceiling holds for `run`."""
        return await self._db.run(lambda c: bills.recalled(c, run, offers, now=self.now()))

    async def beat(self, run_id: str) -> None:
        """Say that a run is alive, and its reservations with it."""

        def operation(connection: Connection) -> None:
            runs.beat(connection, run_id, now=self.now())
            money.renew_leases(connection, run_id, now=self.now())

        await self._db.run(operation)

    async def end_run(
        self,
        run_id: str,
        state: RunState,
        summary: dict[str, Any] | None = None,
        *,
        event: OutboxRow | None = None,
    ) -> None:
        """Close a run; its webhook event is queued in the same transaction, so none is lost."""

        def operation(connection: Connection) -> None:
            runs.end(connection, run_id, state, summary, now=self.now())
            if event:
                mailbox.put(connection, event)

        await self._db.run(operation)

    async def run(self, run_id: str) -> RunRow | None:
        """Return a run, or None."""
        return await self._db.run(lambda c: runs.find(c, run_id))

    async def run_to_resume(self, name: str = "") -> RunRow:
        """Return a run by its id or the beginning of it; "" is the newest that is not complete.

        Raises:
            RequestError: there is none, or more than one begins so.
        """
        return await self._db.run(lambda c: runs.named(c, name, now=self.now()))

    async def latest_runs(self, limit: int = 20) -> list[RunRow]:
        """Return the newest runs, newest first."""
        return await self._db.run(lambda c: runs.latest(c, limit))

    async def keep_item(self, run_id: str, result: ImageResult, *, store: str = "") -> None:
        """Write what happened to one image, and in which store it lies now."""

        def operation(connection: Connection) -> None:
            if store and result.sha256:
                shelf.placed(connection, result.sha256, store, now=self.now())
            runs.keep_item(connection, run_id, result)

        await self._db.run(operation)

    async def items(self, run_id: str) -> list[ImageResult]:
        """Return a run's results so far, in input order."""
        return await self._db.run(lambda c: runs.items(c, run_id))

    async def note(self, run_id: str, kind: str, data: dict[str, Any] | None = None) -> None:
        """Append to a run's event log."""
        await self._db.run(lambda c: runs.note(c, run_id, kind, data or {}, now=self.now()))

    async def events(self, run_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Return a run's events with an id above `after`."""
        return await self._db.run(lambda c: runs.events(c, run_id, after))

    async def queue_event(self, row: OutboxRow) -> None:
        """Put a webhook event into the outbox, once."""
        await self._db.run(lambda c: mailbox.put(c, row))

    async def claim_event(self, *, for_s: float, event_id: str | None = None) -> OutboxRow | None:
        """Take one webhook event whose time has come, for so long; see `mailbox.claim`."""
        until = self.now() + timedelta(seconds=for_s)
        return await self._db.run(
            lambda c: mailbox.claim(c, now=self.now(), until=until, event_id=event_id)
        )

    async def list_events(
        self, *, state: EventState | None = None, run_id: str | None = None, limit: int = 100
    ) -> list[OutboxRow]:
        """Return webhook events, newest first."""
        return await self._db.run(
            lambda c: mailbox.listed(c, state=state, run_id=run_id, limit=limit)
        )

    async def count_events(self) -> dict[str, int]:
        """Return how many webhook events are pending, delivered and dead."""
        return await self._db.run(mailbox.counts)

    async def requeue_events(
        self, event_ids: Collection[str] = (), *, dead: bool = False, run_id: str | None = None
    ) -> list[str]:
        """Make webhook events due now, under their own ids; see `mailbox.requeue`."""
        return await self._db.run(
            lambda c: mailbox.requeue(
                c, now=self.now(), event_ids=event_ids, dead=dead, run_id=run_id
            )
        )

    async def event(self, event_id: str) -> OutboxRow | None:
        """Return one webhook event, or None."""
        return await self._db.run(lambda c: mailbox.find(c, event_id))

    async def update_event(self, row: OutboxRow) -> None:
        """Write back what a delivery attempt changed."""
        await self._db.run(lambda c: mailbox.update_row(c, row))

    def close(self) -> None:
        """Finish what is under way and close the database."""
        self._db.close()


def open_ledger(url: str) -> Ledger:
    """Open (and migrate) the ledger at `url`, a SQLAlchemy address of SQLite or PostgreSQL."""
    return Ledger(open_transactions(url))
