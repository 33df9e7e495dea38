"""Schema versions, run by Alembic when the ledger is opened."""
