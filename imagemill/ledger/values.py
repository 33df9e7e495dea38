"""What is asked of the ledger and what it answers: frozen values."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imagemill.artifact import ArtifactRef

RunState = Literal[
    "queued", "running", "completed", "completed_with_failures", "failed", "crashed", "cancelled"
]

CUT_OFF: frozenset[RunState] = frozenset({"cancelled", "crashed"})
"""States of a run that ended before its time and may be begun again under its id."""

ChargeKind = Literal["image", "judge", "refine", "route", "failure", "ambiguous", "settlement"]

EventState = Literal["pending", "delivered", "dead"]

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True)


class Ask(BaseModel):
    """May this key be paid for now?

    Attributes:
        key: The request key.
        alternatives: Keys of the same image at the other providers of a fallback: paid there, it
            is paid.
        own_only: What another model drew does not do (a style lock), though what is out there or
            ambiguous still counts.
        lineage: Id of the first run of this chain of resumes; its own images are reused for ever.
        holder: Which process asks (`holder.holder()`).
        worst_case_usd: Held until the outcome is known.
        deployment: Whose daily ceiling counts, besides everybody's; "" for none.
        reuse_within_s: How old another run's image may be to count as this one.
    """

    model_config = _FROZEN

    key: str
    run_id: str
    lineage: str
    holder: str
    provider: str
    model: str
    worst_case_usd: Decimal
    deployment: str = ""
    attempt: int = 1
    reuse_within_s: int = 900
    resend_ambiguous: bool = False
    alternatives: tuple[str, ...] = ()
    own_only: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that mean this image, its own first."""
        return (self.key, *self.alternatives)


class Granted(BaseModel):
    """Go ahead: the money is held under this reservation."""

    model_config = _FROZEN

    reservation_id: int


class Payment(BaseModel):
    """What came for the money: the artifact, what it was billed, how long the provider took.

    `kind` is what it is booked as.
    """

    model_config = _FROZEN

    artifact: ArtifactRef
    cost_usd: Decimal
    seconds: float = 0.0
    seed: int | None = None
    kind: ChargeKind = "image"


class Reused(BaseModel):
    """It is paid already: here is the artifact, what it had cost and who drew it."""

    model_config = _FROZEN

    key: str
    provider: str
    model: str
    artifact: ArtifactRef
    cost_usd: Decimal
    seed: int | None = None
    seconds: float = 0.0
    reservation_id: int
    run_id: str


class Orphaned(BaseModel):
    """A dead process held this key. Its answer may lie in the spool; else it is ambiguous."""

    model_config = _FROZEN

    key: str
    reservation_id: int
    reserved_usd: Decimal


class Question(BaseModel):
    """One reservation whose outcome nobody knows yet.

    Attributes:
        state: `ambiguous` (its answer was lost) or `open` (still held, its holder gone or silent).
        since: When it became so: closed, or last believed.
    """

    model_config = _FROZEN

    reservation_id: int
    key: str
    run_id: str
    provider: str
    model: str
    holder: str
    state: Literal["open", "ambiguous"]
    reserved_usd: Decimal
    error_class: str | None = None
    opened_at: datetime
    since: datetime


class Settlement(BaseModel):
    """What a person decided about a lost answer, and what it did to the money.

    Attributes:
        refund_usd: Given back: not spent any more.
    """

    model_config = _FROZEN

    reservation_id: int
    billed: bool
    reserved_usd: Decimal
    refund_usd: Decimal


class RunRow(BaseModel):
    """One run as the ledger knows it. `request` and `summary` are JSON text."""

    model_config = _FROZEN

    id: str
    kind: str
    lineage: str
    batch_digest: str
    state: RunState
    holder: str
    provider: str = ""
    model: str = ""
    deployment: str = ""
    total: int = 0
    request: str = Field(default="{}", repr=False)  # it holds the prompts
    summary: str | None = None
    created_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None = None

    @property
    def resumed(self) -> bool:
        """Whether this run continues one that did not end."""
        return self.lineage != self.id


class OutboxRow(BaseModel):
    """One webhook event waiting, delivered or given up."""

    model_config = _FROZEN

    event_id: str
    run_id: str
    endpoint: str
    url: str
    type: str
    body: str
    state: EventState = "pending"
    attempts: int = 0
    next_attempt_at: datetime
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime
    delivered_at: datetime | None = None


class Account(BaseModel):
    """A running total and its ceiling in USD; None is no ceiling."""

    model_config = _FROZEN

    id: str
    cap_usd: Decimal | None = None
    reserved_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)


class Ceiling(BaseModel):
    """The most a UTC day may cost, and where today stands. `deployment` "" is everything."""

    model_config = _FROZEN

    deployment: str
    per_day_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal


class Offer(BaseModel):
    """What a run may ask a model for: the catalog's worst case of its cheapest and dearest image."""

    model_config = _FROZEN

    provider: str
    model: str
    least_usd: Decimal
    most_usd: Decimal


class Bills(BaseModel):
    """What an offer was billed lately.

    Attributes:
        dearness: The highest bill as a multiple of what was held for it, 1 or more.
        proven: Whether a recent bill stayed within what was held for it.
    """

    model_config = _FROZEN

    dearness: Decimal = Decimal(1)
    proven: bool = False


class Money(BaseModel):
    """Where a run's money went, in USD."""

    model_config = _FROZEN

    spent_usd: Decimal
    reserved_usd: Decimal
    ambiguous_usd: Decimal
