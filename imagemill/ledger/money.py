"""Reservations and charges: the plain transactions behind never paying twice.

Each function takes a connection and runs inside one transaction of its caller.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from imagemill.errors import AmbiguousOutcome, KeyHeld, LedgerError
from imagemill.ledger import accounts
from imagemill.ledger.holder import is_dead
from imagemill.ledger.schema import artifacts, charges, insert_once, reservations
from imagemill.ledger.shelf import find_artifact
from imagemill.ledger.statements import CHARGE, LIVE_ROWS, RESERVE, closing
from imagemill.ledger.values import Account, Ask, Granted, Orphaned, Payment, Reused

LEASE = timedelta(seconds=30)
"""How long a reservation is believed without a heartbeat, when its holder is on another machine."""

_LATE = ("open", "ambiguous", "resent", "settled")
"""What an outcome may still close: a process that was silent for its lease was taken for dead, and
its answer may come after somebody sent the image again, or settled it. It is the truth then."""


def reserve(connection: Connection, ask: Ask, *, now: datetime) -> Granted | Reused | Orphaned:
    """Answer whether this key may be paid for, and hold the money if so.

    What was paid, is out or is in doubt under one of `ask.alternatives` counts as if it were this
    key's: it is the same image, asked of another provider.

    Raises:
        KeyHeld: another live process has it on the wire.
        AmbiguousOutcome: an attempt of this chain of runs, or of the reuse window, may have been
            billed; it is sent again only when `ask.resend_ambiguous`.
        BudgetExceeded: a ceiling has no room for its worst case.
    """
    _one_at_a_time(connection, ask.keys)
    rows = _live_rows(connection, ask)
    if reused := _reusable(connection, rows, ask, now=now):
        return reused
    for row in rows:
        if row.state == "open":
            return _held_or_orphaned(row, now=now)
    _settle_ambiguous(connection, rows, ask, now=now)
    accounts.hold(connection, ask, now=now)
    return Granted(reservation_id=_open(connection, ask, now=now))


def reused(connection: Connection, ask: Ask, *, now: datetime) -> Reused | None:
    """Return what is paid already for this key, None when it would have to be paid. Holds nothing."""
    return _reusable(connection, _live_rows(connection, ask), ask, now=now)


def _one_at_a_time(connection: Connection, keys: Sequence[str]) -> None:
    """PostgreSQL: twins that ask at the same moment queue up. SQLite has one writer anyway.

    Every key of the image is locked, so that twins whose fallbacks overlap or are listed in
    another order meet; in ascending order (`unnest` keeps it), so that they cannot deadlock.
    """
    if connection.dialect.name == "postgresql":
        numbers = sorted({int(key[:15], 16) for key in keys})
        lock = "SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n"
        connection.execute(text(lock), {"numbers": numbers})


def _live_rows(connection: Connection, ask: Ask) -> list[Row[Any]]:
    """Return what is known of this image, newest first, its own key before the alternatives."""
    asked = {"keys": ask.keys, "own": ask.key, "most": 20 * len(ask.keys)}
    return list(connection.execute(LIVE_ROWS, asked))


def _counts(row: Row[Any], ask: Ask, *, now: datetime) -> bool:
    """Whether an earlier outcome belongs to this request: same chain of runs, or recent enough."""
    if row.lineage == ask.lineage:
        return True
    return bool(row.closed_at and row.closed_at >= now - timedelta(seconds=ask.reuse_within_s))


def _reusable(
    connection: Connection, rows: list[Row[Any]], ask: Ask, *, now: datetime
) -> Reused | None:
    for row in rows:
        wanted = row.key == ask.key or not ask.own_only
        if row.state == "charged" and wanted and _counts(row, ask, now=now):
            return Reused(
                key=row.key,
                provider=row.provider,
                model=row.model,
                artifact=find_artifact(connection, row.digest),
                cost_usd=row.charged_usd,
                seed=row.seed,
                seconds=row.provider_seconds or 0.0,
                reservation_id=row.id,
                run_id=row.run_id,
            )
    return None


def _held_or_orphaned(row: Row[Any], *, now: datetime) -> Orphaned:
    if is_dead(row.holder) or row.lease_until < now:
        return Orphaned(key=row.key, reservation_id=row.id, reserved_usd=row.reserved_usd)
    raise KeyHeld(
        "Another run is making this very image now.",
        remedy="It is shared as soon as it is there; nothing is paid twice.",
    )


def _settle_ambiguous(
    connection: Connection, rows: list[Row[Any]], ask: Ask, *, now: datetime
) -> None:
    pending = [row for row in rows if row.state == "ambiguous" and _counts(row, ask, now=now)]
    if not pending:
        return
    if not ask.resend_ambiguous:
        raise AmbiguousOutcome(
            f"An earlier attempt was sent and its answer lost; ${pending[0].reserved_usd} is "
            "counted as spent.",
            remedy="Run again with --resend-ambiguous to pay for another attempt.",
            cost_usd=pending[0].reserved_usd,
            key=pending[0].key,
        )
    connection.execute(
        update(reservations)
        .where(reservations.c.id.in_([row.id for row in pending]))
        .values(state="resent")
    )


def _open(connection: Connection, ask: Ask, *, now: datetime) -> int:
    values = {
        **ask.model_dump(
            include={
                "key",
                "run_id",
                "lineage",
                "deployment",
                "holder",
                "provider",
                "model",
                "attempt",
            }
        ),
        "state": "open",
        "reserved_usd": ask.worst_case_usd,
        "opened_at": now,
        "lease_until": now + LEASE,
    }
    try:
        result = connection.execute(RESERVE, values)
    except IntegrityError:
        raise KeyHeld(
            "Another run took this very image a moment ago.",
            remedy="It is shared when it is there.",
        ) from None
    key = result.inserted_primary_key
    if key is None:
        raise LedgerError("The database did not name the new reservation.")
    return int(key[0])


def _close(
    connection: Connection,
    reservation_id: int,
    befores: tuple[str, ...],
    **values: Any,  # noqa: ANN401
) -> Row[Any]:
    """Close a reservation that is in one of the states `befores`.

    Returns the row with `state` as it was before.
    """
    statement = closing(tuple(values))
    said = {f"new_{name}": value for name, value in values.items()}
    for before in befores:
        asked = {"its_id": reservation_id, "before": before, **said}
        row = connection.execute(statement, asked).one_or_none()
        if row is not None:
            return row
    query = select(reservations.c.state).where(reservations.c.id == reservation_id)
    state = connection.execute(query).scalar() or "missing"
    raise LedgerError(f"Reservation {reservation_id} is {state}; it cannot be closed again.")


def charge(
    connection: Connection, row: Row[Any], *, kind: str, amount_usd: Decimal, now: datetime
) -> None:
    """Book what a reservation cost in the end, or more (a refund is negative).

    `row` is the reservation with `state` as it was before: what an open one held is released.
    """
    released = row.reserved_usd if row.state == "open" else Decimal(0)
    if released or amount_usd:
        accounts.book(connection, row, released_usd=released, spent_usd=amount_usd)
    if amount_usd:
        said = {"reservation_id": row.id, "key": row.key, "run_id": row.run_id}
        connection.execute(CHARGE, {**said, "kind": kind, "amount_usd": amount_usd, "at": now})


def paid(
    connection: Connection, reservation_id: int, payment: Payment, *, now: datetime
) -> Account | None:
    """The answer came whole and is in the spool: turn the reservation into a charge.

    Returns an account that is above its ceiling now, because the provider billed above its worst
    case; None as a rule.
    """
    insert_once(connection, artifacts, {**payment.artifact.model_dump(), "created_at": now})
    row = _close(
        connection, reservation_id, _LATE, state="charged", charged_usd=payment.cost_usd,
        digest=payment.artifact.digest, provider_seconds=payment.seconds, seed=payment.seed,
        closed_at=now,
    )  # fmt: skip
    counted = Decimal(0) if row.state == "open" else _counted(connection, reservation_id)
    kind = payment.kind if row.state == "open" else "settlement"
    charge(connection, row, kind=kind, amount_usd=payment.cost_usd - counted, now=now)
    above = payment.cost_usd > row.reserved_usd
    return accounts.overdrawn(connection, row) if above else None


def _counted(connection: Connection, reservation_id: int) -> Decimal:
    """Return what is booked for a reservation so far: its worst case, or less once settled."""
    total = select(func.coalesce(func.sum(charges.c.amount_usd), 0))
    found = connection.execute(total.where(charges.c.reservation_id == reservation_id))
    return Decimal(found.scalar_one())


def failed(
    connection: Connection,
    reservation_id: int,
    *,
    error_class: str,
    cost_usd: Decimal,
    now: datetime,
) -> None:
    """It certainly made no image: release the money, less what was billed all the same."""
    row = _close(
        connection, reservation_id, _LATE, state="failed" if error_class else "released",
        error_class=error_class or None, charged_usd=cost_usd, closed_at=now,
    )  # fmt: skip
    counted = Decimal(0) if row.state == "open" else _counted(connection, reservation_id)
    charge(connection, row, kind="failure", amount_usd=cost_usd - counted, now=now)


def ambiguous(
    connection: Connection, reservation_id: int, *, error_class: str, now: datetime
) -> Decimal:
    """It may have been billed: count the whole reservation as spent; return how much that is."""
    row = _close(
        connection,
        reservation_id,
        ("open", "ambiguous"),
        state="ambiguous",
        error_class=error_class,
        closed_at=now,
    )
    if row.state == "open":
        charge(connection, row, kind="ambiguous", amount_usd=row.reserved_usd, now=now)
    reserved: Decimal = row.reserved_usd
    return reserved


def renew_leases(connection: Connection, run_id: str, *, now: datetime) -> None:
    """The run is alive: its open reservations are believed for another lease."""
    connection.execute(
        update(reservations)
        .where(and_(reservations.c.run_id == run_id, reservations.c.state == "open"))
        .values(lease_until=now + LEASE)
    )
