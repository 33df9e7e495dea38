"""The truth about money: what was reserved, charged, lost from sight, and told to whom.

SQLite file or PostgreSQL by SQLAlchemy Core. May import neither Prefect nor a provider.
"""

from imagemill.ledger.ledger import Ledger, open_ledger
from imagemill.ledger.values import Ask, Granted, Orphaned, Reused, RunRow

__all__ = ["Ask", "Granted", "Ledger", "Orphaned", "Reused", "RunRow", "open_ledger"]
