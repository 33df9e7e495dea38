"""The outbox: webhook events are rows before they are requests, so none is lost."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from imagemill.errors import RequestError
from imagemill.ledger.schema import insert_once, outbox
from imagemill.ledger.values import OutboxRow


def put(connection: Connection, row: OutboxRow) -> None:
    """Queue an event; the same event id is queued once."""
    insert_once(connection, outbox, row.model_dump())


def claim(
    connection: Connection, *, now: datetime, until: datetime, event_id: str | None = None
) -> OutboxRow | None:
    """Take one event whose time has come (the longest waiting, or this one), and nobody else.

    Until `until` it counts as not due, so two sweeps at the same moment take two events; when the
    claimer dies, the event is due again then. None when there is nothing to take.
    """
    # Asked twice: PostgreSQL looks at the outer condition again when it waited for a neighbour.
    ready = and_(outbox.c.state == "pending", outbox.c.next_attempt_at <= now)
    first = select(outbox.c.event_id).where(ready).order_by(outbox.c.next_attempt_at)
    if event_id is not None:
        first = first.where(outbox.c.event_id == event_id)
    chosen = first.limit(1).with_for_update(skip_locked=True).scalar_subquery()
    statement = update(outbox).where(outbox.c.event_id == chosen, ready)
    taken = connection.execute(statement.values(next_attempt_at=until).returning(outbox))
    row = taken.mappings().one_or_none()
    return OutboxRow(**row) if row else None


def listed(
    connection: Connection, *, state: str | None = None, run_id: str | None = None, limit: int = 100
) -> list[OutboxRow]:
    """Return events, newest first; only those of a state or a run, where one is named."""
    query = select(outbox).order_by(outbox.c.created_at.desc(), outbox.c.event_id.desc())
    if state:
        query = query.where(outbox.c.state == state)
    if run_id:
        query = query.where(outbox.c.run_id == run_id)
    return [OutboxRow(**row) for row in connection.execute(query.limit(limit)).mappings()]


def counts(connection: Connection) -> dict[str, int]:
    """Return how many events are in each state."""
    query = select(outbox.c.state, func.count()).group_by(outbox.c.state)
    return {state: count for state, count in connection.execute(query)}  # noqa: C416 - typed rows


def requeue(
    connection: Connection,
    *,
    now: datetime,
    event_ids: Collection[str] = (),
    dead: bool = False,
    run_id: str | None = None,
) -> list[str]:
    """Make events due now, their schedule beginning anew; the ids stay. Returns them, oldest first.

    Named events whatever their state; of the dead ones and of a run, what is not delivered.

    Raises:
        RequestError: a named event or run has none; nothing was changed.
    """
    _check_known(connection, event_ids, run_id)
    wanted: list[ColumnElement[bool]] = []
    if event_ids:
        wanted.append(outbox.c.event_id.in_(event_ids))
    if dead:
        wanted.append(outbox.c.state == "dead")
    if run_id:
        wanted.append(and_(outbox.c.run_id == run_id, outbox.c.state != "delivered"))
    if not wanted:
        return []
    rows = connection.execute(
        update(outbox)
        .where(or_(*wanted))
        .values(state="pending", attempts=0, next_attempt_at=now, delivered_at=None)
        .returning(outbox.c.created_at, outbox.c.event_id)
    )
    return [event_id for _, event_id in sorted(tuple(row) for row in rows)]


def _check_known(connection: Connection, event_ids: Collection[str], run_id: str | None) -> None:
    query = select(outbox.c.event_id).where(outbox.c.event_id.in_(event_ids))
    missing = sorted(set(event_ids) - set(connection.execute(query).scalars()))
    if missing:
        raise RequestError(
            f"There is no webhook event {', '.join(missing)}.",
            remedy="`imagemill webhooks` lists them. Nothing was sent.",
        )
    if run_id and not listed(connection, run_id=run_id, limit=1):
        raise RequestError(
            f"Run {run_id} has no webhook event.",
            remedy="A run has one when it ended and was given a webhook. `imagemill webhooks` lists them.",
        )


def find(connection: Connection, event_id: str) -> OutboxRow | None:
    """Return the event, or None."""
    query = select(outbox).where(outbox.c.event_id == event_id)
    row = connection.execute(query).mappings().one_or_none()
    return OutboxRow(**row) if row else None


def update_row(connection: Connection, row: OutboxRow) -> None:
    """Write back what an attempt changed. What is delivered stays so, whatever a slower twin says."""
    statement = update(outbox).where(outbox.c.event_id == row.event_id)
    if row.state != "delivered":
        statement = statement.where(outbox.c.state != "delivered")
    connection.execute(statement.values(row.model_dump(exclude={"event_id"})))
