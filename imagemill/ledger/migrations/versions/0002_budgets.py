"""Budgets: accounts with ceilings, and the deployment a run belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up. Accounts begin by themselves, added up from the rows that are there."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=300), nullable=False),
        sa.Column("cap_usd", sa.BigInteger(), nullable=True),
        sa.Column("reserved_usd", sa.BigInteger(), nullable=False),
        sa.Column("spent_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ceilings",
        sa.Column("deployment", sa.String(length=200), nullable=False),
        sa.Column("per_day_usd", sa.BigInteger(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("deployment"),
    )
    for table in ("reservations", "runs"):
        deployment = sa.Column("deployment", sa.String(200), nullable=False, server_default="")
        op.add_column(table, deployment)
    op.create_index("ix_reservations_lineage", "reservations", ["lineage"])
    op.create_index("ix_reservations_opened", "reservations", ["opened_at"])
    op.create_index("ix_charges_reservation", "charges", ["reservation_id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_charges_reservation", "charges")
    op.drop_index("ix_reservations_opened", "reservations")
    op.drop_index("ix_reservations_lineage", "reservations")
    for table in ("runs", "reservations"):
        op.drop_column(table, "deployment")
    op.drop_table("ceilings")
    op.drop_table("accounts")
