"""From evidence to verdict: pure functions, so that a test can feed them a fabricated crime.

The provider's own bill is believed, the ledger's books are what is judged. All are by request key.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal

COUNTED = {"charged", "ambiguous", "resent", "settled"}
"""States of a reservation that say: this attempt is, or may be, on the provider's bill."""

DELIVERED = {"made", "reused"}


@dataclass(frozen=True)
class Billed:
    """What the provider says of one key."""

    requests: int = 0
    served: int = 0
    billed: int = 0


@dataclass(frozen=True)
class Attempt:
    """One row of `reservations`, with the sum of its rows in `charges`. Amounts in USD."""

    id: int
    key: str
    lineage: str
    state: str
    digest: str | None = None
    reserved: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    booked: Decimal = Decimal(0)

    @property
    def counted(self) -> bool:
        """Whether the ledger says that money was, or may have been, spent on it."""
        return self.state in COUNTED or (self.state == "failed" and self.charged > 0)

    @property
    def owed(self) -> Decimal | None:
        """What `charges` should hold for it; None when a person settled it."""
        if self.state in {"ambiguous", "resent"}:
            return self.reserved
        return None if self.state == "settled" else self.charged


@dataclass(frozen=True)
class Said:
    """What the last run of a batch says of one image."""

    key: str
    status: str
    digest: str | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that four witnesses say about one row of the scorecard.

    Attributes:
        bill: By key, from the fake provider.
        attempts: The ledger's reservations.
        said: Results of the last run of each batch, one for each image asked for.
        objects: The store's images below the row's prefix: name -> sha256 of the bytes read back.
        resend_asked: Whether anybody asked for unclear images to be sent again.
        queued: Ids in the outbox.
        received: Ids of events that the receiver took, one entry a request.
    """

    asked: int
    bill: dict[str, Billed]
    attempts: list[Attempt]
    said: list[Said]
    objects: dict[str, str]
    resend_asked: bool = True
    queued: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """One row of figures. Those in `MUST_BE_ZERO` decide."""

    asked: int = 0
    delivered: int = 0
    served: int = 0
    charged: int = 0
    charged_twice: int = 0
    uncounted: int = 0
    ambiguous: int = 0
    listed_failed: int = 0
    lost: int = 0
    stored_twice: int = 0
    unbalanced: int = 0
    unsettled: int = 0
    events: int = 0
    events_received: int = 0
    events_again: int = 0
    events_missing: int = 0
    requests: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return replace(self, **sums)

    @property
    def broken(self) -> list[str]:
        """Promises broken, in words."""
        return [
            f"{getattr(self, name)} {words}"
            for name, words in MUST_BE_ZERO.items()
            if getattr(self, name)
        ]


MUST_BE_ZERO = {
    "charged_twice": "charged twice without a word",
    "uncounted": "on the provider's bill and not in the ledger",
    "lost": "paid images lost",
    "stored_twice": "images stored twice or without a charge",
    "unbalanced": "reservations whose charges do not add up",
    "unsettled": "reservations left open",
    "events_missing": "webhook events never delivered",
}


def judge(evidence: Evidence) -> Verdict:
    """Count everything a row shows."""
    good = _delivered(evidence)
    states = Counter(attempt.state for attempt in evidence.attempts)
    return Verdict(
        asked=evidence.asked,
        delivered=len(good),
        served=sum(bill.served for bill in evidence.bill.values()),
        charged=states["charged"],
        charged_twice=charged_twice(evidence),
        uncounted=uncounted(evidence),
        ambiguous=states["ambiguous"] + states["resent"] + states["settled"],
        listed_failed=sum(said.status in {"failed", "not_started"} for said in evidence.said),
        lost=lost(evidence),
        stored_twice=stored_twice(evidence),
        unbalanced=sum(a.owed is not None and a.owed != a.booked for a in evidence.attempts),
        unsettled=states["open"],
        events=len(evidence.queued),
        events_received=len(set(evidence.received)),
        events_again=len(evidence.received) - len(set(evidence.received)),
        events_missing=len(set(evidence.queued) - set(evidence.received)),
        requests=sum(bill.requests for bill in evidence.bill.values()),
    )


def charged_twice(evidence: Evidence) -> int:
    """Count silent double charges.

    A second bill for a key is silent unless the ledger counts the attempt it belongs to. And of one
    key at most one attempt may count that nobody asked to send again: no row asks for a second
    picture of the same, so a charge beside a charge, or beside something unclear, is one too many.
    """
    counted = _by_key(a for a in evidence.attempts if a.counted)
    unasked = _by_key(a for a in evidence.attempts if a.state in {"charged", "ambiguous"})
    if not evidence.resend_asked:
        unasked += _by_key(a for a in evidence.attempts if a.state == "resent")
    silent = sum(max(0, bill.billed - max(1, counted[key])) for key, bill in evidence.bill.items())
    return silent + sum(number - 1 for number in unasked.values())


def uncounted(evidence: Evidence) -> int:
    """Count bills that the ledger has no counted attempt for."""
    counted = _by_key(a for a in evidence.attempts if a.counted)
    return sum(max(0, bill.billed - counted[key]) for key, bill in evidence.bill.items())


def lost(evidence: Evidence) -> int:
    """Count answers that went out whole and are neither delivered nor listed.

    And paid pictures that the store does not have or the last run does not deliver; and unclear
    ones that the last run does not name.
    """
    counted = _by_key(a for a in evidence.attempts if a.counted)
    unknown = sum(max(0, bill.served - counted[key]) for key, bill in evidence.bill.items())
    good = _delivered(evidence)
    charged = {a.key for a in evidence.attempts if a.state == "charged"}
    unclear = {a.key for a in evidence.attempts if a.state == "ambiguous"} - charged
    named = {said.key for said in evidence.said if said.status == "ambiguous"}
    return unknown + len(charged - good) + len(unclear - named)


def stored_twice(evidence: Evidence) -> int:
    """Count objects that are a second copy, or a picture that no charge is written for."""
    copies = Counter(evidence.objects.values())
    charged = {a.digest for a in evidence.attempts if a.state == "charged"}
    unpaid = set(copies) - charged
    return sum(number - 1 for number in copies.values()) + len(unpaid)


def _delivered(evidence: Evidence) -> set[str]:
    """Return the keys whose picture the last run hands out and the store holds, byte for byte."""
    whole = {digest for name, digest in evidence.objects.items() if digest in name}
    return {said.key for said in evidence.said if said.status in DELIVERED and said.digest in whole}


def _by_key(attempts: Iterable[Attempt]) -> Counter[str]:
    return Counter(attempt.key for attempt in attempts)
