"""Artifacts that were paid, and in which stores they lie."""

from datetime import datetime

from sqlalchemy import Connection, select

from imagemill.artifact import ArtifactRef
from imagemill.errors import LedgerError
from imagemill.ledger.schema import artifacts, insert_once, placements


def find_artifact(connection: Connection, digest: str) -> ArtifactRef:
    """Return the artifact with this digest.

    Raises:
        LedgerError: the ledger does not know it.
    """
    row = connection.execute(select(artifacts).where(artifacts.c.digest == digest)).one_or_none()
    if row is None:
        raise LedgerError(f"The ledger knows no artifact {digest[:12]}.")
    return ArtifactRef(**{name: getattr(row, name) for name in ArtifactRef.model_fields})


def placed(connection: Connection, digest: str, store: str, *, now: datetime) -> None:
    """Remember that the artifact lies in `store`."""
    insert_once(connection, placements, {"digest": digest, "store": store, "stored_at": now})


def is_placed(connection: Connection, digest: str, store: str) -> bool:
    """Whether the artifact was seen in `store`."""
    query = select(placements.c.digest).where(
        placements.c.digest == digest, placements.c.store == store
    )
    return connection.execute(query).first() is not None
