"""Delivers webhook events from the outbox. A row first, a request second; none is lost.

An event keeps one id for ever, so a receiver that got it twice can tell.
"""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from imagemill.errors import ImagemillError
from imagemill.ledger import Ledger
from imagemill.ledger.values import OutboxRow
from imagemill.netguard import Guard
from imagemill.request import BatchResult
from imagemill.webhook import DeliveryReport, batch_event, deliver, next_attempt

IN_PERSON_S = 60.0
"""How long a fresh row is left to the run that wrote it before the sweep may take it."""


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


async def sweep(
    ledger: Ledger, endpoint_of: Callable[[str], Awaitable[Endpoint]], *, limit: int = 100
) -> list[OutboxRow]:
    """Deliver every event whose time has come; returns the rows as they are afterwards.

    A row whose endpoint cannot be found any more waits for its next turn; it stops nobody else.
    """
    rows = []
    for row in await ledger.due_events(limit=limit):
        try:
            rows.append(await attempt(ledger, row, await endpoint_of(row.endpoint)))
        except ImagemillError as error:
            report = DeliveryReport(delivered=False, error=str(error))
            after = after_attempt(row, report, now=ledger.now())
            await ledger.update_event(after)
            rows.append(after)
    return rows
