"""Open questions about money: lost answers a person settles, and what dead processes left behind.

Each function takes a connection and runs inside one transaction of its caller.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, literal, select, update

from imagemill.errors import LedgerError
from imagemill.ledger.database import Transactions
from imagemill.ledger.holder import is_dead
from imagemill.ledger.money import charge
from imagemill.ledger.runs import STALE_AFTER, note
from imagemill.ledger.schema import reservations, runs
from imagemill.ledger.values import Question, RunRow, Settlement


class SettlingBook:
    """The part of a ledger that settles what is in doubt. Every method is one transaction."""

    _db: Transactions
    now: Callable[[], datetime]

    async def open_questions(self, run_id: str | None = None) -> list[Question]:
        """Return every ambiguous reservation, oldest first."""
        return await self._db.run(lambda c: open_questions(c, run_id))

    async def settle(self, reservation_id: int, *, billed: bool) -> Settlement:
        """Write down whether a lost answer was billed; see `settle`."""
        return await self._db.run(
            lambda c: settle(c, reservation_id, billed=billed, now=self.now())
        )

    async def left_open(self) -> list[Question]:
        """Return reservations that dead or silent processes hold open."""
        return await self._db.run(lambda c: left_open(c, now=self.now()))

    async def left_running(self) -> list[RunRow]:
        """Return runs marked running with nobody there."""
        return await self._db.run(lambda c: left_running(c, now=self.now()))

    async def living_runs(self) -> list[RunRow]:
        """Return runs that are running, as far as anybody can tell."""
        return await self._db.run(lambda c: living(c, now=self.now()))

    async def give_up_run(self, run: RunRow) -> bool:
        """Mark a run crashed that has nobody any more; False when it showed life meanwhile."""
        return await self._db.run(lambda c: give_up(c, run, now=self.now()))


def open_questions(connection: Connection, run_id: str | None = None) -> list[Question]:
    """Return every ambiguous reservation (of a run), oldest first."""
    query = select(reservations).where(reservations.c.state == "ambiguous")
    if run_id is not None:
        query = query.where(reservations.c.run_id == run_id)
    return [_question(row) for row in connection.execute(query.order_by(reservations.c.id))]


def settle(
    connection: Connection, reservation_id: int, *, billed: bool, now: datetime
) -> Settlement:
    """Write down what a look at the bill has shown. The key is free then: asking again sends anew.

    Billed: what was counted as spent stays spent. Not billed: it is given back.

    Raises:
        LedgerError: no such reservation, or it is not ambiguous (settled, charged, still open);
            nothing was changed.
    """
    row = connection.execute(
        update(reservations)
        .where(reservations.c.id == reservation_id, reservations.c.state == "ambiguous")
        .values(state="settled")
        .returning(*_MONEY)
    ).one_or_none()
    if row is None:
        raise _not_ambiguous(connection, reservation_id)
    refund = Decimal(0) if billed else row.reserved_usd
    charge(connection, row, kind="settlement", amount_usd=-refund, now=now)
    connection.execute(
        update(reservations)
        .where(reservations.c.id == reservation_id)
        .values(charged_usd=row.reserved_usd - refund)
    )
    return Settlement(
        reservation_id=reservation_id, billed=billed, reserved_usd=row.reserved_usd,
        refund_usd=refund,
    )  # fmt: skip


_MONEY = (
    reservations.c.id,
    reservations.c.key,
    reservations.c.run_id,
    reservations.c.lineage,
    reservations.c.deployment,
    reservations.c.opened_at,
    reservations.c.reserved_usd,
    literal("ambiguous").label("state"),
)
"""What `charge` needs to know of the reservation, with `state` as it was before."""


def _not_ambiguous(connection: Connection, reservation_id: int) -> LedgerError:
    query = select(reservations.c.state, reservations.c.charged_usd, reservations.c.reserved_usd)
    row = connection.execute(query.where(reservations.c.id == reservation_id)).one_or_none()
    lists = "`imagemill reconcile` lists what is open."
    if row is None:
        return LedgerError(f"There is no reservation {reservation_id}.", remedy=lists)
    said = {
        "settled": "was settled before, as "
        + (f"billed (${row.charged_usd})" if row.charged_usd else "not billed"),
        "charged": f"is charged (${row.charged_usd}): its answer was found",
        "resent": f"was sent again on request; its ${row.reserved_usd} stay counted",
        "open": "is on the wire, or its process died: `imagemill doctor` tells",
    }
    what = said.get(row.state, f"is {row.state}: its outcome is known")
    return LedgerError(
        f"Reservation {reservation_id} {what}.", remedy=f"Nothing was changed. {lists}"
    )


def left_open(connection: Connection, *, now: datetime) -> list[Question]:
    """Return reservations still open whose holder is certainly dead, or silent beyond its lease."""
    query = select(reservations).where(reservations.c.state == "open").order_by(reservations.c.id)
    rows = list(connection.execute(query))
    dead = {holder: is_dead(holder) for holder in {row.holder for row in rows}}
    return [_question(row) for row in rows if dead[row.holder] or row.lease_until < now]


def _question(row: Row[Any]) -> Question:
    return Question(
        reservation_id=row.id, key=row.key, run_id=row.run_id, provider=row.provider,
        model=row.model, holder=row.holder, state=row.state, reserved_usd=row.reserved_usd,
        error_class=row.error_class, opened_at=row.opened_at,
        since=row.closed_at or row.lease_until,
    )  # fmt: skip


def left_running(connection: Connection, *, now: datetime) -> list[RunRow]:
    """Return runs still marked running whose process is certainly dead, or silent for a minute."""
    query = select(runs).where(runs.c.state == "running").order_by(runs.c.created_at)
    found = [RunRow(**row) for row in connection.execute(query).mappings()]
    dead = {holder: is_dead(holder) for holder in {run.holder for run in found}}
    return [run for run in found if dead[run.holder] or run.heartbeat_at < now - STALE_AFTER]


def living(connection: Connection, *, now: datetime) -> list[RunRow]:
    """Return runs that are running, as far as anybody can tell."""
    gone = {run.id for run in left_running(connection, now=now)}
    query = select(runs).where(runs.c.state == "running").order_by(runs.c.created_at)
    found = [RunRow(**row) for row in connection.execute(query).mappings()]
    return [run for run in found if run.id not in gone]


def give_up(connection: Connection, run: RunRow, *, now: datetime) -> bool:
    """Mark a run crashed that `left_running` named; False when it showed life meanwhile."""
    marked = connection.execute(
        update(runs)
        .where(
            runs.c.id == run.id,
            runs.c.state == "running",
            runs.c.holder == run.holder,
            runs.c.heartbeat_at == run.heartbeat_at,
        )
        .values(state="crashed", ended_at=now)
        .returning(runs.c.id)
    ).one_or_none()
    if marked is not None:
        note(connection, run.id, "crashed", {"found_by": "doctor"}, now=now)
    return marked is not None
