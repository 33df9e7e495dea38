"""Opens the ledger's database, brings its schema up to date, and runs its transactions.

SQLite has one writer, so operations of one process are gathered into one transaction with a
savepoint each (group commit): full durability at a fraction of an fsync per image. PostgreSQL
commits each operation by itself, on a few threads.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError

from imagemill.errors import LedgerError

if TYPE_CHECKING:
    from alembic.config import Config

_UNSPOKEN: dict[str, Any] = {"hide_parameters": True, "logging_name": "imagemill"}
"""Rows and parameters hold prompts. SQLAlchemy logs every row at DEBUG; ours it does not."""
logging.getLogger("sqlalchemy.engine.Engine.imagemill").addFilter(
    lambda record: record.levelno > logging.DEBUG
)

T = TypeVar("T")
Operation = Callable[[Connection], T]

SQLITE_BUSY_TIMEOUT_S = 30
MAX_GROUP = 64
POSTGRES_THREADS = 4
RECONNECT_S = 15.0
RECONNECT_POLL_S = 0.25
"""A PostgreSQL that is restarted is back within seconds; a run need not fall over that."""
HEAD = "0003"
"""The newest schema version; a test holds it to Alembic's own."""
_MIGRATION_LOCK = 0x696D6167656D696C  # "imagemil": the advisory lock that one migration holds


class Transactions(Protocol):
    """Runs operations on the database, off the event loop."""

    async def run(self, operation: Operation[T]) -> T:
        """Run `operation` in a transaction and return what it returned, after the commit."""
        ...

    def close(self) -> None:
        """Finish what was handed in and let the threads go."""
        ...


class GroupCommit:
    """One thread, one connection, many operations a commit. For SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[tuple[Operation[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def run(self, operation: Operation[T]) -> T:
        """Hand in; resolves when the group that holds it is on disk."""
        future: Future[T] = Future()
        self._queue.put((operation, future))
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Commit what is waiting and stop."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group, stop = self._gather(first)
            self._commit(group)
            if stop:
                return

    def _gather(
        self, first: tuple[Operation[Any], Future[Any]]
    ) -> tuple[list[tuple[Operation[Any], Future[Any]]], bool]:
        group = [first]
        while len(group) < MAX_GROUP:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
        return group, False

    def _commit(self, group: list[tuple[Operation[Any], Future[Any]]]) -> None:
        outcomes: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with self._engine.begin() as connection:
                attempt = _attempt if len(group) > 1 else _alone
                for operation, future in group:
                    outcomes.append((future, *attempt(connection, operation)))
        except SQLAlchemyError as error:
            failure = translated(error)
            outcomes = [(future, None, failure) for _, future in group]
        except Exception as error:  # of an operation that was alone
            outcomes = [(future, None, error) for _, future in group]
        for future, value, problem in outcomes:
            if problem is None:
                future.set_result(value)
            else:
                future.set_exception(problem)


def _alone(connection: Connection, operation: Operation[T]) -> tuple[T, None]:
    return operation(connection), None  # its failure undoes the whole transaction


def _attempt(connection: Connection, operation: Operation[T]) -> tuple[T | None, Exception | None]:
    """Run one operation of a group; its failure undoes itself and leaves its neighbours alone."""
    # Said to SQLite itself: SQLAlchemy compiles a new statement for every savepoint it names.
    connection.exec_driver_sql("SAVEPOINT operation")
    try:
        value = operation(connection)
    except Exception as error:
        connection.exec_driver_sql("ROLLBACK TO operation")
        return None, translated(error) if isinstance(error, SQLAlchemyError) else error
    connection.exec_driver_sql("RELEASE operation")
    return value, None


class ThreadedTransactions:
    """A transaction each, on a few threads. For PostgreSQL."""

    def __init__(self, engine: Engine, threads: int = POSTGRES_THREADS) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger")

    async def run(self, operation: Operation[T]) -> T:
        """Run in a thread; cancelling the caller does not tear the transaction."""
        future = self._threads.submit(self._transact, operation)
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Finish what was handed in and close the connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()

    def _transact(self, operation: Operation[T]) -> T:
        deadline = time.monotonic() + RECONNECT_S
        while True:
            committing = False
            try:
                with self._engine.connect() as connection, connection.begin():
                    value = operation(connection)
                    committing = True
                return value  # noqa: TRY300 - the commit is at the end of the block
            except SQLAlchemyError as error:
                # What broke before the commit is undone for certain, so it may be done again.
                again = _is_away(error) and not committing and time.monotonic() < deadline
                failure = translated(error)
            # Raised out here, SQLAlchemy's own error (its parameters are prompts) is not even in the chain.
            if not again:
                raise failure
            time.sleep(RECONNECT_POLL_S)


def _is_away(error: SQLAlchemyError) -> bool:
    """Tell whether the database could not be reached, or went away."""
    if not isinstance(error, OperationalError):
        return False
    return error.connection_invalidated or error.statement is None


def translated(error: SQLAlchemyError) -> LedgerError:
    """Return our error for SQLAlchemy's, without the statement's parameters (they hold prompts)."""
    kind = type(getattr(error, "orig", None) or error).__name__
    return LedgerError(
        f"The ledger's database refused an operation ({kind}).",
        remedy="Check IMAGEMILL_DATABASE_URL, free disk and that the database is running.",
    )


def _sqlite_pragmas(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a reservation survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def make_engine(url: str) -> Engine:
    """Return an engine with the settings money needs.

    Raises:
        LedgerError: not a SQLite or PostgreSQL address, or its folder cannot be written.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerError(
            "IMAGEMILL_DATABASE_URL is not a database address.",
            remedy="Use sqlite:////path/ledger.db or postgresql://user:password@host/name.",
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True, pool_size=POSTGRES_THREADS, **_UNSPOKEN)
    if backend != "sqlite":
        raise LedgerError(
            f"The ledger cannot live in {backend}.", remedy="Use SQLite or PostgreSQL."
        )
    if parsed.database:
        _writable_folder(Path(parsed.database).parent)
    engine = create_engine(parsed, **_UNSPOKEN)
    event.listen(engine, "connect", _sqlite_pragmas)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _writable_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"The ledger's folder {folder} cannot be made ({error.strerror}).",
            remedy="Set IMAGEMILL_HOME to a folder you can write to.",
        ) from None


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version; safe when several processes start at once."""
    if _is_current(engine):
        return
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "imagemill:ledger/migrations")
    if engine.dialect.name == "sqlite":
        database = engine.url.database or ":memory:"
        with FileLock(f"{database}.migrate.lock", timeout=120):
            _upgrade(engine, config)
        return
    with engine.connect() as guard:
        guard.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _MIGRATION_LOCK})
        try:
            _upgrade(engine, config)
        finally:
            guard.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _MIGRATION_LOCK})


def _is_current(engine: Engine) -> bool:
    """Ask the database itself: Alembic takes 0.3 s to say the same."""
    try:
        with engine.connect() as connection:
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (OperationalError, ProgrammingError):  # no table, or no database: let Alembic say
        return False
    return version == HEAD


def _upgrade(engine: Engine, config: "Config") -> None:
    from alembic import command

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def open_transactions(url: str) -> Transactions:
    """Open the database at `url`, migrate it, and return what runs transactions on it.

    Raises:
        LedgerError: it cannot be reached or written; says what to check.
    """
    engine = make_engine(url)
    try:
        migrate(engine)
    except OperationalError as error:
        raise translated(error) from None
    if engine.dialect.name == "sqlite":
        return GroupCommit(engine)
    return ThreadedTransactions(engine)
