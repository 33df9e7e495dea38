"""The outbox: webhook events are rows before they are requests, so none is lost."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from imagemill.ledger.schema import insert_once, outbox
from imagemill.ledger.values import OutboxRow


def put(connection: Connection, row: OutboxRow) -> None:
    """Queue an event; the same event id is queued once."""
    insert_once(connection, outbox, row.model_dump())


def due(connection: Connection, *, now: datetime, limit: int = 100) -> list[OutboxRow]:
    """Return pending events whose time has come, oldest first."""
    query = (
        select(outbox)
        .where(outbox.c.state == "pending", outbox.c.next_attempt_at <= now)
        .order_by(outbox.c.next_attempt_at)
        .limit(limit)
    )
    return [OutboxRow(**row) for row in connection.execute(query).mappings()]


def find(connection: Connection, event_id: str) -> OutboxRow | None:
    """Return the event, or None."""
    query = select(outbox).where(outbox.c.event_id == event_id)
    row = connection.execute(query).mappings().one_or_none()
    return OutboxRow(**row) if row else None


def update_row(connection: Connection, row: OutboxRow) -> None:
    """Write back what an attempt changed."""
    connection.execute(
        update(outbox)
        .where(outbox.c.event_id == row.event_id)
        .values(row.model_dump(exclude={"event_id"}))
    )
