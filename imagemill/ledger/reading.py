"""Questions that change nothing: where a run's money went, what is paid already."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.engine import make_url

from imagemill.ledger.schema import charges, reservations
from imagemill.ledger.values import Money

_KEYS_A_QUERY = 500
"""SQLite takes 32,766 variables a statement (its default since 3.32), older ones 999."""


def money_of(connection: Connection, run_id: str) -> Money:
    """Add up where a run's money went."""
    spent = connection.execute(
        select(func.coalesce(func.sum(charges.c.amount_usd), 0)).where(charges.c.run_id == run_id)
    ).scalar_one()
    held: dict[str, Decimal] = {}
    query = (
        select(reservations.c.state, func.sum(reservations.c.reserved_usd))
        .where(
            reservations.c.run_id == run_id,
            or_(reservations.c.state == "open", reservations.c.state == "ambiguous"),
        )
        .group_by(reservations.c.state)
    )
    for state, amount in connection.execute(query):
        held[state] = _usd(amount)
    zero = Decimal(0)
    return Money(
        spent_usd=_usd(spent),
        reserved_usd=held.get("open", zero),
        ambiguous_usd=held.get("ambiguous", zero),
    )


def _usd(value: Decimal | int) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def paid_keys(
    connection: Connection,
    keys: Sequence[str],
    *,
    lineage: str | None,
    reuse_within_s: int,
    now: datetime,
) -> set[str]:
    """Return which keys a run would reuse: paid by its own chain, or recently enough by anybody."""
    since = now - timedelta(seconds=reuse_within_s)
    counts = reservations.c.closed_at >= since
    if lineage is not None:
        counts = or_(counts, reservations.c.lineage == lineage)
    found: set[str] = set()
    for at in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[at : at + _KEYS_A_QUERY]
        query = (
            select(reservations.c.key)
            .where(reservations.c.key.in_(some), reservations.c.state == "charged", counts)
            .distinct()
        )
        found.update(connection.execute(query).scalars())
    return found


def ledger_exists(url: str) -> bool:
    """Tell whether there is a ledger to ask, without making one. A server is taken to have one."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(parsed.database or "").is_file() if is_file else True
