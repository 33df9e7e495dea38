"""Alembic's entry: the connection comes from `imagemill.ledger.database`."""

from alembic import context

from imagemill.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
