"""What providers billed lately, beside what was held for it: asked once, when a run with a ceiling opens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from sqlalchemy import Connection, Float, and_, case, cast, exists, func, or_, select

from imagemill.ledger.accounts import chain_account
from imagemill.ledger.schema import accounts, ceilings, reservations
from imagemill.ledger.values import Bills, Offer, RunRow

NEWEST = 10_000
"""So many reservations, of all models, are looked through: the largest batch, and some ms without
an index of their own."""

PROVEN_FOR = timedelta(days=1)
"""How long a bill speaks for the next one: price lists change by the day."""

ALIKE = Decimal("0.1")
"""What was held may differ by this part and still be the same price: prompts differ in length.
Another size, or a catalog that was corrected, differs by more, and its bills say nothing here."""


def recalled(
    connection: Connection, run: RunRow, offers: Sequence[Offer], *, now: datetime
) -> list[Bills] | None:
    """Return what each offer was billed lately, or None when no ceiling holds for `run`."""
    if not _has_ceiling(connection, run):
        return None
    return [_billed(connection, offer, now=now) for offer in offers]


def _has_ceiling(connection: Connection, run: RunRow) -> bool:
    chain = exists().where(
        accounts.c.id == chain_account(run.lineage), accounts.c.cap_usd.is_not(None)
    )
    day = exists().where(ceilings.c.deployment.in_({"", run.deployment}))
    return bool(connection.execute(select(or_(chain, day))).scalar_one())


def _billed(connection: Connection, offer: Offer, *, now: datetime) -> Bills:
    row = reservations.c
    within = and_(row.state == "charged", row.charged_usd <= row.reserved_usd)
    newest = select(func.coalesce(func.max(row.id), 0)).scalar_subquery()
    ratio, proven_at = connection.execute(
        select(
            func.max(cast(row.charged_usd, Float) / cast(row.reserved_usd, Float)),
            func.max(case((within, row.opened_at))),
        ).where(
            row.id > newest - NEWEST,
            row.provider == offer.provider,
            row.model == offer.model,
            row.charged_usd.is_not(None),
            row.reserved_usd.between(offer.least_usd * (1 - ALIKE), offer.most_usd * (1 + ALIKE)),
        )
    ).one()
    return Bills(
        dearness=max(Decimal(1), stepped(Decimal(str(ratio or 1)))),
        proven=proven_at is not None and proven_at >= now - PROVEN_FOR,
    )


def stepped(ratio: Decimal) -> Decimal:
    """Round a bill's ratio up to a millionth, so that what is held by it is never a hair too little."""
    return ratio.quantize(Decimal("0.000001"), ROUND_UP)
