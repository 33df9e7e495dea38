"""The statements that every image needs, made once.

To make a statement takes SQLAlchemy longer than SQLite takes to run it: made anew at each call they
were half of what the ledger costs an image.
"""

from functools import cache
from typing import Any

from sqlalchemy import Integer, String, bindparam, insert, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from imagemill.ledger.schema import charges, reservations

LIVE_ROWS = (
    select(reservations)
    .where(
        reservations.c.key.in_(bindparam("keys", expanding=True)),
        reservations.c.state.in_(("open", "charged", "ambiguous")),
    )
    .order_by(reservations.c.key != bindparam("own"), reservations.c.id.desc())
    .limit(bindparam("most", type_=Integer))
)
"""Takes `keys`, `own` (the key that goes first) and `most` (rows)."""

RESERVE = insert(reservations)
CHARGE = insert(charges).inline()


@cache
def closing(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Return the statement that sets these columns of one reservation, if it is in a given state.

    Takes `its_id`, `before` (the state) and `new_NAME` for each column; the row it returns has the
    state as it was before.
    """
    before = bindparam("before", type_=String)
    return (
        update(reservations)
        .where(reservations.c.id == bindparam("its_id"), reservations.c.state == before)
        .values({name: bindparam(f"new_{name}") for name in names})
        .returning(
            reservations.c.id, reservations.c.key, reservations.c.run_id,
            reservations.c.lineage, reservations.c.deployment, reservations.c.opened_at,
            reservations.c.reserved_usd, before.label("state"),
        )
    )  # fmt: skip
