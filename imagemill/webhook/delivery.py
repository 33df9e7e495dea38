"""How an event is signed and sent: one attempt, and when the next one is due."""

import asyncio
import base64
import binascii
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from standardwebhooks import Webhook

from imagemill.errors import RequestError, WebhookError
from imagemill.netguard import Guard, UrlRefused, client_for

SCHEDULE_S = (0, 5, 30, 120, 600, 1800, 7200, 21600)
"""Delay before each attempt, seconds; 8.7 h in all. Shorter than the specification's example (3
days), because presigned URLs in the event must outlive it. URLs of `imagemill` live for 24 h."""

JITTER = 0.2
MAX_ANSWER_BYTES = 65_536
TIMEOUT_S = 15.0
MAX_RETRY_AFTER_S = 86_400.0

_DRAIN_S = 1.0
_GONE = 410
_SLOW_DOWN = frozenset({429, 502, 503, 504})


def check_secret(secret: str) -> None:
    """Check a signing secret: `whsec_` and base64 of 24 to 64 bytes.

    Several, separated by spaces, are allowed while one replaces another: each signs.

    Raises:
        RequestError: Not a usable secret. The message does not contain it.
    """
    parts = secret.split()
    if not parts or not all(_is_secret(part) for part in parts):
        raise RequestError(
            "A webhook secret is whsec_ followed by base64 of 24 to 64 random bytes.",
            remedy='Make one: python -c "import base64, secrets; '
            "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\"",
        )


def _is_secret(part: str) -> bool:
    if not part.startswith("whsec_"):
        return False
    encoded = part.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return 24 <= len(key) <= 64


def sign(secret: str, event_id: str, *, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that let a receiver trust `body`.

    Args:
        secret: One secret, or several separated by spaces (rotation): one signature for each.
        event_id: Same on every attempt; without `.`, because the signed text is joined by it.
        at: Time of this attempt, aware.
        body: The exact bytes that are sent; UTF-8.

    Raises:
        RequestError: The secret is not usable.
        WebhookError: The id has a `.`, or the time is naive.
    """
    check_secret(secret)
    if "." in event_id:
        raise WebhookError("A webhook id has no '.'.", remedy="Make it with batch_event.")
    if at.tzinfo is None:
        raise WebhookError("A webhook is signed with an aware time.", remedy="Use UTC.")
    # The library takes every time for UTC, so it gets UTC (facts/storage.md section 5).
    at = at.astimezone(UTC)
    text = body.decode()
    signatures = (Webhook(part).sign(event_id, at, text) for part in secret.split())
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@dataclass(frozen=True)
class DeliveryReport:
    """How one attempt went.

    Attributes:
        delivered: The receiver answered 2xx.
        status_code: Its answer; None when there was none.
        retry_after_s: What it asked for with 429, 502, 503 or 504, at most a day.
        permanent: Trying again is useless: it said 410 (gone), or the address is not allowed.
        error: One sentence for people; empty when delivered.
    """

    delivered: bool
    status_code: int | None = None
    retry_after_s: float | None = None
    permanent: bool = False
    error: str = ""


async def deliver(
    event_id: str,
    body: bytes,
    *,
    url: str,
    secret: str,
    guard: Guard,
    client: httpx.AsyncClient | None = None,
) -> DeliveryReport:
    """Try once to deliver an event; redirects are failures and are not followed.

    Args:
        event_id: As in `WebhookEvent.id`.
        body: As `WebhookEvent.body` returned it.
        url: The receiver.
        secret: Shared with the receiver.
        guard: Where connections are allowed.
        client: A guarded client to use instead of a new one; it stays open.

    Raises:
        RequestError: The secret is not usable. Everything else is in the report.
    """
    headers = sign(secret, event_id, at=datetime.now(UTC), body=body)
    headers |= {"Content-Type": "application/json"}
    try:
        checked = guard.check_url(url)
        async with client_for(guard, client, timeout_s=TIMEOUT_S) as used:
            request = used.build_request("POST", checked.url, content=body, headers=headers)
            async with asyncio.timeout(TIMEOUT_S):
                answer = await used.send(request, stream=True, follow_redirects=False)
            await _drain(answer)
    except UrlRefused as refused:
        return DeliveryReport(delivered=False, permanent=True, error=str(refused))
    except (TimeoutError, httpx.TimeoutException):
        error = f"{checked.host} did not answer within {TIMEOUT_S:g} s."
        return DeliveryReport(delivered=False, error=error)
    except httpx.HTTPError as failed:
        error = f"{checked.host} could not be reached ({type(failed).__name__})."
        return DeliveryReport(delivered=False, error=error)
    return _report(answer, checked.host)


async def _drain(answer: httpx.Response) -> None:
    """Read a little of the answer, so that the connection ends politely. The status is enough."""
    read = 0
    try:
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(_DRAIN_S):
                async for part in answer.aiter_raw():
                    read += len(part)
                    if read >= MAX_ANSWER_BYTES:
                        break
    finally:
        await answer.aclose()


def _report(answer: httpx.Response, host: str) -> DeliveryReport:
    code = answer.status_code
    if answer.is_success:
        return DeliveryReport(delivered=True, status_code=code)
    said = f"{host} answered {code}"
    if answer.is_redirect:
        said += "; redirects are not followed"
    if code == _GONE:
        said += ": it wants no more events"
    wait_s = retry_after_s(answer.headers.get("retry-after", ""), datetime.now(UTC))
    return DeliveryReport(
        delivered=False,
        status_code=code,
        retry_after_s=wait_s if code in _SLOW_DOWN else None,
        permanent=code == _GONE,
        error=f"{said}.",
    )


def retry_after_s(value: str, now: datetime) -> float | None:
    """Read a Retry-After header: seconds or a date. At most a day; None when it says nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        # Ten digits are more than any wait; more could not become a float of use.
        return min(float(value[:10]), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def next_attempt(
    attempt: int, now: datetime, *, rng: random.Random, retry_after_s: float | None = None
) -> datetime | None:
    """Return when to try again after `attempt` attempts, or None when it is time to give up.

    Args:
        attempt: Attempts made so far; 0 before the first.
        now: Aware UTC; when the last attempt ended.
        rng: Source of the jitter of ±20 %.
        retry_after_s: What the receiver asked for; a floor below which the delay does not fall.
    """
    if attempt >= len(SCHEDULE_S):
        return None
    delay_s = SCHEDULE_S[attempt] * rng.uniform(1 - JITTER, 1 + JITTER)
    return now + timedelta(seconds=max(delay_s, retry_after_s or 0.0))
