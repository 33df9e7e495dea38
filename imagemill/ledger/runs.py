"""Run rows, their items and events: what people poll, stream and resume from."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from imagemill.errors import RequestError
from imagemill.ledger.holder import is_dead
from imagemill.ledger.schema import run_events, run_items, runs
from imagemill.ledger.values import RunRow, RunState
from imagemill.request import ImageResult

HEARTBEAT = timedelta(seconds=5)
STALE_AFTER = timedelta(seconds=60)
"""A running run on another machine that was silent this long is taken for crashed."""


def begin(
    connection: Connection,
    run: RunRow,
    *,
    now: datetime,
    continues: str = "",
    reuse_within_s: int = 0,
) -> RunRow:
    """Write the run's row; continue a chain when the same batch was left unfinished, or just ended.

    A run with the same id (a flow retried by Prefect) continues itself. With `continues`, the run of
    that id is continued however it ended.

    Raises:
        RequestError: the run to continue is not known, or is at work itself.
    """
    same = find(connection, run.id)
    if same is not None:
        values = {"state": "running", "holder": run.holder, "heartbeat_at": now, "ended_at": None}
        connection.execute(update(runs).where(runs.c.id == run.id).values(**values))
        return same.model_copy(update=values)
    if continues:
        before: RunRow | None = _at_rest(connection, continues, now=now)
    else:
        before = to_continue(connection, run.batch_digest, now=now, reuse_within_s=reuse_within_s)
    if before is not None and before.state == "running":
        _crashed(connection, before.id, now=now)
    row = run.model_copy(update={"lineage": before.lineage}) if before else run
    connection.execute(insert(runs).values(row.model_dump()))
    return row


def queue(connection: Connection, run: RunRow) -> None:
    """Write a run that another process is to begin, under the same id."""
    connection.execute(insert(runs).values(run.model_dump()))


def _at_rest(connection: Connection, run_id: str, *, now: datetime) -> RunRow:
    """Return a run that may be continued by name."""
    found = find(connection, run_id)
    if found is None:
        raise RequestError(
            f"The ledger knows no run {run_id[:64]}.", remedy="`imagemill runs` lists them."
        )
    if found.state == "running" and not is_gone(found, now=now):
        raise RequestError(
            f"Run {run_id} is at work.", remedy="Wait for its end, or stop it first."
        )
    return found


def is_gone(run: RunRow, *, now: datetime) -> bool:
    """Tell whether a run that is called running has no process any more."""
    return run.heartbeat_at < now - STALE_AFTER or is_dead(run.holder)


def _crashed(connection: Connection, run_id: str, *, now: datetime) -> None:
    values = {"state": "crashed", "ended_at": now}
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def to_continue(
    connection: Connection, batch_digest: str, *, now: datetime, reuse_within_s: int
) -> RunRow | None:
    """Return the last run of this batch if the next one belongs to its chain.

    It did not end (it may still be called running), or it ended within the reuse window: then its
    images count as this run's own, also those that an earlier run of the chain paid for long ago.
    """
    query = (
        select(runs)
        .where(runs.c.batch_digest == batch_digest)
        .order_by(runs.c.created_at.desc(), runs.c.id.desc())
        .limit(1)
    )
    found = connection.execute(query).mappings().one_or_none()
    if found is None:
        return None
    last = RunRow(**found)
    dead = last.state == "running" and is_gone(last, now=now)
    fresh = last.ended_at and last.ended_at > now - timedelta(seconds=reuse_within_s)
    return last if dead or fresh or last.state in {"crashed", "cancelled"} else None


def find(connection: Connection, run_id: str) -> RunRow | None:
    """Return the run, or None."""
    query = select(runs).where(runs.c.id == run_id)
    found = connection.execute(query).mappings().one_or_none()
    return RunRow(**found) if found else None


ROUTE = "route"
"""The kind of a run that made a prompt of a text. Asked again it costs nothing: none goes on with it."""


def named(connection: Connection, name: str, *, now: datetime) -> RunRow:
    """Return a run by its id or the beginning of it; "" is the newest that is not complete.

    Raises:
        RequestError: there is none, or more than one begins so.
    """
    newest, work = (runs.c.created_at.desc(), runs.c.id.desc()), ""
    if name:
        query = select(runs).where(runs.c.id.startswith(name, autoescape=True)).order_by(*newest)
        found = [RunRow(**row) for row in connection.execute(query.limit(2)).mappings()]
    else:
        query = select(runs).where(runs.c.state != "completed", runs.c.kind != ROUTE)
        query = query.order_by(*newest).limit(50)
        listed = [RunRow(**row) for row in connection.execute(query).mappings()]
        at_work = [run for run in listed if run.state == "running" and not is_gone(run, now=now)]
        found = [run for run in listed if run not in at_work][:1]
        work = "".join(f" Run {run.id[:13]} is at work." for run in at_work[:1])
    if len(found) == 1:
        return found[0]
    what = f"begins with {name[:64]}" if name else "is left unfinished"
    raise RequestError(
        f"{'More than one run' if found else 'No run'} {what}.{work}",
        remedy="`imagemill runs` lists them with their ids.",
    )


def latest(connection: Connection, limit: int) -> list[RunRow]:
    """Return the newest runs, newest first."""
    query = select(runs).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    return [RunRow(**row) for row in connection.execute(query).mappings()]


def beat(connection: Connection, run_id: str, *, now: datetime) -> None:
    """The run is alive."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(heartbeat_at=now))


def end(
    connection: Connection,
    run_id: str,
    state: RunState,
    summary: dict[str, Any] | None,
    *,
    now: datetime,
) -> None:
    """The run is over; `summary` is its result without the images."""
    said = None if summary is None else json.dumps(summary, default=str, ensure_ascii=False)
    connection.execute(
        update(runs).where(runs.c.id == run_id).values(state=state, summary=said, ended_at=now)
    )
    note(connection, run_id, state, {}, now=now)


_KEEP_ITEM = text(
    "INSERT INTO run_items (run_id, idx, key, status, result) "
    "VALUES (:run_id, :idx, :key, :status, :result) ON CONFLICT (run_id, idx) DO UPDATE SET "
    "key = excluded.key, status = excluded.status, result = excluded.result"
)


def keep_item(connection: Connection, run_id: str, result: ImageResult) -> None:
    """Write what happened to one image, replacing what an earlier attempt had written."""
    said = {"key": result.key, "status": result.status, "result": result.model_dump_json()}
    connection.execute(_KEEP_ITEM, {"run_id": run_id, "idx": result.index, **said})


def items(connection: Connection, run_id: str) -> list[ImageResult]:
    """Return the run's results so far, in input order."""
    query = select(run_items.c.result).where(run_items.c.run_id == run_id).order_by(run_items.c.idx)
    return [ImageResult.model_validate_json(said) for said in connection.execute(query).scalars()]


def note(
    connection: Connection, run_id: str, kind: str, data: dict[str, Any], *, now: datetime
) -> None:
    """Append to the run's event log."""
    said = json.dumps(data, default=str, ensure_ascii=False)
    connection.execute(insert(run_events).values(run_id=run_id, at=now, type=kind, data=said))


def events(connection: Connection, run_id: str, after: int) -> list[dict[str, Any]]:
    """Return events with an id above `after`, oldest first."""
    query = (
        select(run_events)
        .where(run_events.c.run_id == run_id, run_events.c.id > after)
        .order_by(run_events.c.id)
    )
    return [
        {"id": row.id, "at": row.at, "type": row.type, "data": json.loads(row.data)}
        for row in connection.execute(query)
    ]
