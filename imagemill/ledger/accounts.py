"""Budgets: running totals with a ceiling, moved in the same transaction as the money itself.

An image is booked on up to three accounts: its chain of runs, its day, and its deployment's day. A
reservation is granted only while spent + reserved + its worst case stays within every ceiling, so no
interleaving of processes passes one. Days are UTC and belong to the moment of the reservation.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select, update

from imagemill.errors import BudgetExceeded, RequestError
from imagemill.ledger.schema import accounts, ceilings, charges, reservations, upsert
from imagemill.ledger.values import Account, Ask, Ceiling
from imagemill.request import MAX_BUDGET_USD

_HOLD = (
    update(accounts)
    .where(accounts.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        reserved_usd=accounts.c.reserved_usd + bindparam("held", type_=accounts.c.spent_usd.type)
    )
)
_BOOK = (
    update(accounts)
    .where(accounts.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        reserved_usd=accounts.c.reserved_usd
        - bindparam("released", type_=accounts.c.spent_usd.type),
        spent_usd=accounts.c.spent_usd + bindparam("spent", type_=accounts.c.spent_usd.type),
    )
)
_others = accounts.alias()
_HOLD_IF_ALL_HAVE_ROOM = _HOLD.where(
    select(func.count())
    .select_from(_others)
    .where(
        _others.c.id.in_(bindparam("ids", expanding=True)),
        or_(
            _others.c.cap_usd.is_(None),
            _others.c.spent_usd
            + _others.c.reserved_usd
            + bindparam("held", type_=accounts.c.spent_usd.type)
            <= _others.c.cap_usd,
        ),
    )
    .scalar_subquery()
    == bindparam("number")
)
"""One statement where SQLite's one writer makes a lock needless: all accounts, or none."""
_READ = select(accounts).where(accounts.c.id.in_(bindparam("ids", expanding=True)))
_LOCK = _READ.order_by(accounts.c.id).with_for_update()


def chain_account(lineage: str) -> str:
    """Return the account of a chain of runs: a run and everything that continued it."""
    return f"chain:{lineage}"


def day_account(day: datetime, deployment: str = "") -> str:
    """Return the account of a UTC day, over everything or for one deployment."""
    name = f"day:{day.astimezone(UTC):%Y-%m-%d}"
    return f"{name}:{deployment}" if deployment else name


def accounts_of(lineage: str, deployment: str, opened_at: datetime) -> list[str]:
    """Return the accounts that an image is booked on."""
    day = [day_account(opened_at), day_account(opened_at, deployment)] if deployment else []
    return sorted({chain_account(lineage), day_account(opened_at), *day})


def hold(connection: Connection, ask: Ask, *, now: datetime) -> None:
    """Hold an image's worst case on its accounts.

    Raises:
        BudgetExceeded: one of them has no room; the caller's transaction is rolled back.
    """
    ids = accounts_of(ask.lineage, ask.deployment, now)
    if connection.dialect.name == "sqlite":
        asked = {"ids": ids, "held": ask.worst_case_usd, "number": len(ids)}
        if connection.execute(_HOLD_IF_ALL_HAVE_ROOM, asked).rowcount:
            return
    found = _locked(connection, ids)
    for missing in [one for one in ids if one not in found]:
        found[missing] = _opened(connection, missing)
    for account in found.values():
        if account.cap_usd is None:
            continue
        if account.spent_usd + account.reserved_usd + ask.worst_case_usd > account.cap_usd:
            raise _no_room(account, ask)
    connection.execute(_HOLD, {"ids": ids, "held": ask.worst_case_usd})


def book(
    connection: Connection, row: Row[Any], *, released_usd: Decimal, spent_usd: Decimal
) -> None:
    """Move a reservation's money from reserved to spent.

    `row` needs `lineage`, `deployment` and `opened_at`.
    """
    ids = accounts_of(row.lineage, row.deployment, row.opened_at)
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"ids": ids})
    connection.execute(_BOOK, {"ids": ids, "released": released_usd, "spent": spent_usd})


def overdrawn(connection: Connection, row: Row[Any]) -> Account | None:
    """Return an account of this image that is above its ceiling: a provider billed too much."""
    ids = accounts_of(row.lineage, row.deployment, row.opened_at)
    for found in connection.execute(_READ, {"ids": ids}):
        account = _account(found)
        if (
            account.cap_usd is not None
            and account.spent_usd + account.reserved_usd > account.cap_usd
        ):
            return account
    return None


def _locked(connection: Connection, ids: list[str]) -> dict[str, Account]:
    """Read accounts; PostgreSQL locks them in one order, so that no two runs deadlock."""
    query = _LOCK if connection.dialect.name == "postgresql" else _READ
    return {row.id: _account(row) for row in connection.execute(query, {"ids": ids})}


def _account(row: Row[Any]) -> Account:
    return Account(
        id=row.id, cap_usd=row.cap_usd, reserved_usd=row.reserved_usd, spent_usd=row.spent_usd
    )


def _opened(connection: Connection, account_id: str) -> Account:
    """Begin an account with what the ledger's own rows say; whoever is second takes the first's."""
    counted = counted_anew(connection, account_id)
    connection.execute(
        upsert(connection, accounts)
        .values(counted.model_dump())
        .on_conflict_do_nothing(index_elements=["id"])
    )
    return _locked(connection, [account_id])[account_id]


def counted_anew(connection: Connection, account_id: str) -> Account:
    """Add an account up from reservations and charges, and read its standing ceiling."""
    kind, _, rest = account_id.partition(":")
    if kind == "chain":
        mine = [reservations.c.lineage == rest]
        cap = None
    else:
        day, _, deployment = rest.partition(":")
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
        mine = [
            reservations.c.opened_at >= start,
            reservations.c.opened_at < start + timedelta(days=1),
            *([reservations.c.deployment == deployment] if deployment else []),
        ]
        cap = connection.execute(
            select(ceilings.c.per_day_usd).where(ceilings.c.deployment == deployment)
        ).scalar()
    held = select(func.coalesce(func.sum(reservations.c.reserved_usd), 0)).where(
        reservations.c.state == "open", *mine
    )
    spent = (
        select(func.coalesce(func.sum(charges.c.amount_usd), 0))
        .join(reservations, charges.c.reservation_id == reservations.c.id)
        .where(*mine)
    )
    return Account(
        id=account_id,
        cap_usd=cap,
        reserved_usd=Decimal(connection.execute(held).scalar_one()),
        spent_usd=Decimal(connection.execute(spent).scalar_one()),
    )


def cap_chain(connection: Connection, lineage: str, cap_usd: Decimal | None) -> None:
    """Give a chain of runs its ceiling; the newest run's word holds, None takes it away."""
    account_id = chain_account(lineage)
    if account_id not in _locked(connection, [account_id]):
        _opened(connection, account_id)
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(cap_usd=cap_usd))


def set_ceiling(
    connection: Connection, deployment: str, per_day_usd: Decimal | None, *, now: datetime
) -> None:
    """Set, or with None lift, the most a day may cost, over everything ("") or for a deployment.

    Holds from the next reservation on, today's spending counted.
    """
    if per_day_usd is not None and not 0 <= per_day_usd <= MAX_BUDGET_USD:
        raise RequestError(
            f"A ceiling is an amount from 0 to {MAX_BUDGET_USD:,} USD; got {per_day_usd}.",
            remedy="Give dollars, such as 20 or 0.50.",
        )
    if per_day_usd is None:
        connection.execute(delete(ceilings).where(ceilings.c.deployment == deployment))
    else:
        said = {"per_day_usd": per_day_usd, "set_at": now}
        connection.execute(
            upsert(connection, ceilings)
            .values(deployment=deployment, **said)
            .on_conflict_do_update(index_elements=["deployment"], set_=said)
        )
    today = day_account(now, deployment)
    connection.execute(update(accounts).where(accounts.c.id == today).values(cap_usd=per_day_usd))


def standing(connection: Connection, *, now: datetime) -> list[Ceiling]:
    """Return every ceiling with what today has spent and reserved; the whole house first."""
    rows = connection.execute(select(ceilings).order_by(ceilings.c.deployment)).all()
    caps: dict[str, Decimal | None] = {"": None, **{r.deployment: r.per_day_usd for r in rows}}
    found = []
    for deployment, cap in caps.items():
        today = counted_anew(connection, day_account(now, deployment))
        found.append(
            Ceiling(
                deployment=deployment,
                per_day_usd=cap,
                spent_usd=today.spent_usd,
                reserved_usd=today.reserved_usd,
            )
        )
    return found


def find(connection: Connection, account_id: str) -> Account | None:
    """Return an account as it is booked, or None."""
    return _locked(connection, [account_id]).get(account_id)


def _usd(amount: Decimal | None) -> str:
    return "$0" if not amount else f"${amount.normalize():f}"


def _no_room(account: Account, ask: Ask) -> BudgetExceeded:
    kind, _, rest = account.id.partition(":")
    day, _, deployment = rest.partition(":")
    if kind == "chain":
        what, remedy = "The run's budget", "Raise max_cost_usd (--max-cost-usd)"
    elif deployment:
        what = f"The ceiling of the deployment {deployment} for {day} (UTC)"
        remedy = f"Wait for the next day, or raise it: imagemill budget --deployment {deployment}"
    else:
        what, remedy = f"The ceiling for {day} (UTC)", "Wait for the next day, or: imagemill budget"
    return BudgetExceeded(
        f"{what} of {_usd(account.cap_usd)} has no room for a request of up to "
        f"{_usd(ask.worst_case_usd)}: {_usd(account.spent_usd)} spent, "
        f"{_usd(account.reserved_usd)} reserved.",
        remedy=f"{remedy}. Resume the run then; what is made is reused.",
    )
