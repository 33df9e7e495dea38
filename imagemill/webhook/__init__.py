"""Webhook events by Standard Webhooks 1.0.0: what is said, how it is signed, one delivery.

The body is `{"type", "timestamp", "data"}` (docs/webhooks.md shows it in full). It never contains
prompt text. Nothing here waits or remembers: the ledger's outbox keeps events and their attempts,
`next_attempt` says when to try again, `deliver` tries once.
"""

from imagemill.webhook.delivery import (
    SCHEDULE_S,
    DeliveryReport,
    check_secret,
    deliver,
    next_attempt,
    sign,
)
from imagemill.webhook.event import EventType, WebhookEvent, batch_event

__all__ = [
    "SCHEDULE_S",
    "DeliveryReport",
    "EventType",
    "WebhookEvent",
    "batch_event",
    "check_secret",
    "deliver",
    "next_attempt",
    "sign",
]
