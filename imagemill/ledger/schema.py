"""The ledger's tables, the same on SQLite and PostgreSQL.

Money is kept as whole nano-dollars, so that sums are exact in SQL on both databases.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    bindparam,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

NANO = Decimal(10) ** 9


class Usd(TypeDecorator[Decimal]):
    """US dollars as a Decimal in Python, as whole nano-dollars in the database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Round half to even at a billionth of a dollar."""
        return None if value is None else int((value * NANO).to_integral_value())

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:  # noqa: ANN401
        """Back to dollars, exactly."""
        return None if value is None else Decimal(int(value)) / NANO


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC; SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("The ledger takes aware times only.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def upsert(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - one of two dialects' Insert
    """Return this database's INSERT that can say what to do on a conflict."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert unless another transaction was faster."""
    connection.execute(_unless_there(table, tuple(values)), values)


@cache
def _unless_there(table: Table, columns: tuple[str, ...]) -> TextClause:
    """Both databases understand it; SQLAlchemy's own ON CONFLICT is compiled anew at each call."""
    names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    return text(
        f"INSERT INTO {table.name} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
    ).bindparams(*(bindparam(name, type_=table.c[name].type) for name in columns))


metadata = MetaData()
_id = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements INTEGER keys only

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("lineage", String(64), nullable=False),  # id of the first run of a chain of resumes
    Column("batch_digest", String(64), nullable=False),
    Column("state", String(30), nullable=False),
    Column("holder", String(200), nullable=False),
    Column("provider", String(100), nullable=False, server_default=""),
    Column("model", String(200), nullable=False, server_default=""),
    Column("deployment", String(200), nullable=False, server_default=""),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("request", Text, nullable=False, server_default="{}"),
    Column("summary", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Index("ix_runs_digest", "batch_digest", "created_at"),
    Index("ix_runs_created", "created_at"),
)

run_items = Table(
    "run_items",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("result", Text, nullable=False),
)

run_events = Table(
    "run_events",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("type", String(40), nullable=False),
    Column("data", Text, nullable=False, server_default="{}"),
    Index("ix_run_events_run", "run_id", "id"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("lineage", String(64), nullable=False),
    Column("deployment", String(200), nullable=False, server_default=""),
    Column("holder", String(200), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("provider", String(100), nullable=False),
    Column("model", String(200), nullable=False),
    # open -> charged | failed | released | ambiguous; ambiguous -> charged | settled | resent
    Column("state", String(12), nullable=False),
    Column("reserved_usd", Usd, nullable=False),
    Column("charged_usd", Usd),
    Column("digest", String(64)),
    Column("error_class", String(40)),
    Column("provider_seconds", Float),
    Column("seed", BigInteger),
    Column("opened_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
    Index("ix_reservations_key", "key", "id"),
    Index("ix_reservations_run", "run_id", "state"),
    Index("ix_reservations_lineage", "lineage"),
    Index("ix_reservations_opened", "opened_at"),
    # The heart of pay-once: of one key, at most one request is on the wire, whoever sends it.
    Index(
        "uq_reservations_open",
        "key",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

charges = Table(
    "charges",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("reservation_id", ForeignKey("reservations.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("kind", String(20), nullable=False),  # values.ChargeKind
    Column("amount_usd", Usd, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_charges_run", "run_id"),
    Index("ix_charges_at", "at"),
    Index("ix_charges_reservation", "reservation_id"),
)

answers = Table(
    "answers",
    metadata,
    # The reservation that paid for it; a key may be paid again when its reuse window is over.
    Column("reservation_id", ForeignKey("reservations.id"), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("kind", String(20), nullable=False),  # judge, refine
    Column("text", Text, nullable=False),  # `words.Written` as JSON
    Column("model", String(200), nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(300), primary_key=True),  # chain:LINEAGE, day:DATE, day:DATE:DEPLOYMENT
    Column("cap_usd", Usd),
    Column("reserved_usd", Usd, nullable=False),
    Column("spent_usd", Usd, nullable=False),
)

ceilings = Table(
    "ceilings",
    metadata,
    Column("deployment", String(200), primary_key=True),  # "" is everything
    Column("per_day_usd", Usd, nullable=False),
    Column("set_at", UtcTime, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("media_type", String(40), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

placements = Table(
    "placements",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("store", String(200), primary_key=True),
    Column("stored_at", UtcTime, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("event_id", String(120), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("endpoint", String(300), nullable=False),
    Column("url", Text, nullable=False),
    Column("type", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(12), nullable=False),  # pending, delivered, dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcTime, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("delivered_at", UtcTime),
    Index("ix_outbox_due", "state", "next_attempt_at"),
)
