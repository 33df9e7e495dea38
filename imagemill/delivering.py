"""Delivers webhook events from the outbox. A row first, a request second; none is lost.

An event keeps one id for ever, so a receiver that got it twice can tell.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol

from imagemill.errors import ImagemillError
from imagemill.ledger import Ledger
from imagemill.ledger.values import OutboxRow
from imagemill.netguard import Guard
from imagemill.request import BatchResult
from imagemill.webhook import DeliveryReport, batch_event, deliver, next_attempt

IN_PERSON_S = 60.0
"""How long a row belongs to whoever wrote or claimed it: more than the 16 s an attempt may take."""

AT_ONCE = 8
"""Deliveries of one sweep at a time; one that is never answered takes 16 s."""


class Endpoint(Protocol):
    """Where events go: address, signing secret, and where connections are allowed."""

    @property
    def url(self) -> str:
        """The receiver's address."""
        ...

    @property
    def secret(self) -> str:
        """Shared with the receiver."""
        ...

    @property
    def guard(self) -> Guard:
        """What may be connected to."""
        ...


def outbox_row(result: BatchResult, endpoint: Endpoint, *, name: str, now: datetime) -> OutboxRow:
    """Return the event that tells how a batch ended, ready to be queued.

    `name` is how the asker named the endpoint (an address or a block), to find its secret again.
    """
    event = batch_event(result, at=now)
    return OutboxRow(
        event_id=event.id,
        run_id=result.run_id,
        endpoint=name,
        url=endpoint.url,
        type=event.type,
        body=event.body().decode(),
        next_attempt_at=now + timedelta(seconds=IN_PERSON_S),
        created_at=now,
    )


async def attempt(ledger: Ledger, row: OutboxRow, endpoint: Endpoint) -> OutboxRow:
    """Try once to deliver one event, and write down how it went. Never raises for the receiver."""
    report = await deliver(
        row.event_id, row.body.encode(), url=endpoint.url, secret=endpoint.secret,
        guard=endpoint.guard,
    )  # fmt: skip
    after = after_attempt(row, report, now=ledger.now())
    await ledger.update_event(after)
    return after


def after_attempt(row: OutboxRow, report: DeliveryReport, *, now: datetime) -> OutboxRow:
    """Return the row as an attempt leaves it: delivered, waiting for its next turn, or dead."""
    attempts = row.attempts + 1
    changes = {
        "attempts": attempts,
        "last_status": report.status_code,
        "last_error": report.error or None,
    }
    if report.delivered:
        return row.model_copy(update={**changes, "state": "delivered", "delivered_at": now})
    again = next_attempt(
        attempts,
        now,
        rng=random.Random(),  # noqa: S311 - jitter
        retry_after_s=report.retry_after_s,
    )
    if report.permanent or again is None:
        return row.model_copy(update={**changes, "state": "dead"})
    return row.model_copy(update={**changes, "next_attempt_at": again})


EndpointOf = Callable[[str], Awaitable[Endpoint]]
"""Finds the endpoint that a row names; raises our errors when there is none any more."""


async def sweep(ledger: Ledger, endpoint_of: EndpointOf, *, limit: int = 100) -> list[OutboxRow]:
    """Deliver every event whose time has come; returns the rows as they are afterwards.

    A row whose endpoint cannot be found any more waits for its next turn; it stops nobody else. Two
    sweeps at the same moment share the work: each row is claimed before it is sent. Several go at
    once, so that a receiver that answers nothing holds nobody else up.
    """
    turns = iter(range(limit))
    rows: dict[int, OutboxRow] = {}

    async def deliver_in_turn() -> None:
        for turn in turns:
            row = await ledger.claim_event(for_s=IN_PERSON_S)
            if row is None:
                return
            rows[turn] = await _attempted(ledger, row, endpoint_of)

    await asyncio.gather(*(deliver_in_turn() for _ in range(AT_ONCE)))
    return [row for _, row in sorted(rows.items())]


async def replay(
    ledger: Ledger,
    endpoint_of: EndpointOf,
    *,
    event_ids: Collection[str] = (),
    dead: bool = False,
    run_id: str | None = None,
) -> list[OutboxRow]:
    """Send events again now, under the ids they have for ever; their schedule begins anew.

    Args:
        ledger: Where they are.
        endpoint_of: As for `sweep`.
        event_ids: These, delivered ones too: a receiver that remembers ids takes them once.
        dead: All that were given up.
        run_id: All of a run that are not delivered.

    Returns:
        The rows as they are afterwards, oldest first; what a sweep took meanwhile is as it left it.

    Raises:
        RequestError: a named event is not known, or the run has none; nothing was sent.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def again(event_id: str) -> OutboxRow | None:
        async with places:
            row = await ledger.claim_event(for_s=IN_PERSON_S, event_id=event_id)
            if row is None:
                return await ledger.event(event_id)
            return await _attempted(ledger, row, endpoint_of)

    ids = await ledger.requeue_events(event_ids, dead=dead, run_id=run_id)
    rows = await asyncio.gather(*(again(event_id) for event_id in ids))
    return [row for row in rows if row is not None]


async def _attempted(ledger: Ledger, row: OutboxRow, endpoint_of: EndpointOf) -> OutboxRow:
    """Attempt a claimed row; an endpoint that is no more costs it an attempt."""
    try:
        return await attempt(ledger, row, await endpoint_of(row.endpoint))
    except ImagemillError as error:
        report = DeliveryReport(delivered=False, error=str(error))
        after = after_attempt(row, report, now=ledger.now())
        await ledger.update_event(after)
        return after
