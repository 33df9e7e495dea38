"""Paid answers in words: kept in the transaction that charges them, so that none is paid twice.

A judgement or a refined prompt is reserved and charged like an image (`money`); what differs is that
the answer itself lies here and not in the spool: it is small.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, func, insert, select

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.cost import Usage
from imagemill.errors import LedgerError
from imagemill.ledger import money
from imagemill.ledger.database import Transactions
from imagemill.ledger.schema import answers, charges, reservations
from imagemill.ledger.values import Account, Payment
from imagemill.words import Written

Kind = Literal["judge", "refine", "route"]


class Bill(BaseModel):
    """What a run was charged for one kind of thing.

    Attributes:
        kind: `image`, `judge`, `refine`, `route`, `failure`, `ambiguous` or `settlement`.
        calls: How many charges.
        tokens: What the answers in words reported, thinking included; 0 for pictures.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal = Decimal(0)


class AnswerBook:
    """The part of a ledger that keeps answers. Every method is one transaction."""

    _db: Transactions
    now: Callable[[], datetime]

    async def answered(
        self, reservation_id: int, written: Written, *, kind: Kind, seconds: float
    ) -> Account | None:
        """Turn a reservation into a charge and keep the answer; see `Ledger.paid`."""
        payment = payment_for(written, kind=kind, seconds=seconds)
        return await self._db.run(
            lambda c: keep(c, reservation_id, written, payment, now=self.now())
        )

    async def answer(self, reservation_id: int) -> Written:
        """Return the answer that was paid under a reservation.

        Raises:
            LedgerError: there is none.
        """
        return await self._db.run(lambda c: find(c, reservation_id))

    async def bills(self, run_id: str) -> list[Bill]:
        """Return what a run was charged, by kind; what it reused cost nothing and is not here."""
        return await self._db.run(lambda c: bills_of(c, run_id))


def payment_for(written: Written, *, kind: Kind, seconds: float) -> Payment:
    """Return what came for the money: the words' digest in the place of a picture's."""
    data = written.model_dump_json().encode()
    words = ArtifactRef(digest=digest_of(data), media_type="application/json", size_bytes=len(data))
    return Payment(artifact=words, cost_usd=written.cost_usd, seconds=seconds, kind=kind)


def keep(
    connection: Connection, reservation_id: int, written: Written, payment: Payment, *,
    now: datetime,
) -> Account | None:  # fmt: skip
    """Charge an answer and keep it. Returns an account above its ceiling, as `money.paid` does."""
    above = money.paid(connection, reservation_id, payment, now=now)
    key = select(reservations.c.key).where(reservations.c.id == reservation_id).scalar_subquery()
    connection.execute(
        insert(answers).values(
            reservation_id=reservation_id, key=key, kind=payment.kind, text=written.model_dump_json(),
            model=written.model, created_at=now,
        )
    )  # fmt: skip
    return above


def find(connection: Connection, reservation_id: int) -> Written:
    """Return the answer paid under a reservation.

    Raises:
        LedgerError: there is none, or this version cannot read it.
    """
    query = select(answers.c.text).where(answers.c.reservation_id == reservation_id)
    found = connection.execute(query).scalar()
    try:
        return Written.model_validate_json(found or "")
    except ValueError:
        pass
    # Raised out here: pydantic's error would carry the words along.
    raise LedgerError(f"The answer paid under reservation {reservation_id} cannot be read.")


def bills_of(connection: Connection, run_id: str) -> list[Bill]:
    """Add up a run's charges by kind, with the calls and tokens of its answers.

    An answer that cost nothing (a model of one's own) is counted all the same.
    """
    query = (
        select(charges.c.kind, func.count(), func.sum(charges.c.amount_usd))
        .where(charges.c.run_id == run_id)
        .group_by(charges.c.kind)
    )
    found = {
        kind: Bill(kind=kind, calls=calls, cost_usd=amount)
        for kind, calls, amount in connection.execute(query)
    }
    for kind, used in _answers(connection, run_id).items():
        known = found.get(kind, Bill(kind=kind))
        found[kind] = known.model_copy(
            update={
                "calls": len(used),
                "tokens_in": sum(each.prompt_tokens for each in used),
                "tokens_out": sum(each.text_tokens + each.thinking_tokens for each in used),
            }
        )
    return [found[kind] for kind in sorted(found)]


def _answers(connection: Connection, run_id: str) -> dict[str, list[Usage]]:
    query = (
        select(answers.c.kind, answers.c.text)
        .join(reservations, answers.c.reservation_id == reservations.c.id)
        .where(reservations.c.run_id == run_id)
    )
    used: dict[str, list[Usage]] = {}
    for kind, said in connection.execute(query):
        used.setdefault(kind, []).append(Written.model_validate_json(said).usage)
    return used
