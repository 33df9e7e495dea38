"""Asks the four witnesses: the provider's bill, the ledger by SQL, the store, the receiver."""

import hashlib
import json
from decimal import Decimal
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from chaos.judging import Attempt, Billed, Evidence, Said

NANO = Decimal(10) ** 9

ATTEMPTS = """
SELECT r.id, r.key, r.lineage, r.state, r.digest, r.reserved_usd, r.charged_usd,
       (SELECT coalesce(sum(c.amount_usd), 0) FROM charges c WHERE c.reservation_id = r.id)
FROM reservations r ORDER BY r.id
"""
SAID = "SELECT key, status, result FROM run_items WHERE run_id = :run ORDER BY idx"


def gather(stage: Any) -> Evidence:
    """Return what all of them say about one row, after everything has settled."""
    rows = Books(stage.ledger_url)
    try:
        attempts = [
            Attempt(i, key, lineage, state, digest, _usd(held), _usd(charged), _usd(booked))
            for i, key, lineage, state, digest, held, charged, booked in rows.ask(ATTEMPTS)
        ]
        said = [
            Said(key, status, _digest(result))
            for run in stage.final_runs
            for key, status, result in rows.ask(SAID, run=run)
        ]
        queued = [event for (event,) in rows.ask("SELECT event_id FROM outbox")]
    finally:
        rows.close()
    return Evidence(
        asked=stage.asked,
        bill={key: Billed(**counts) for key, counts in stage.fake.stats.by_key.items()},
        attempts=attempts,
        said=said,
        objects=stage.site.pictures(f"{stage.prefix}/"),
        resend_asked=stage.resend_asked,
        queued=queued,
        received=[event.id for event in stage.receiver.received]
        + [stage.receiver.received[0].id] * stage.receiver.duplicate_count,
    )


def _usd(nano: Any) -> Decimal:
    return Decimal(int(nano or 0)) / NANO


def _digest(result: str) -> str | None:
    return json.loads(result).get("sha256")


class Books:
    """The ledger's tables, read without any of imagemill's code."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def ask(self, statement: str, **values: Any) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    @classmethod
    def reserved_by_run(cls, url: str, *, state: str = "") -> list[int]:
        """Count reservations (in this state) run by run; [] while there are no tables."""
        books = cls(url)
        where = "WHERE state = :state" if state else ""
        values = {"state": state} if state else {}
        try:
            rows = books.ask(f"SELECT count(*) FROM reservations {where} GROUP BY run_id", **values)
        except SQLAlchemyError:  # killed before the ledger was made
            return []
        finally:
            books.close()
        return [number for (number,) in rows]

    def close(self) -> None:
        self._engine.dispose()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
