"""Every error imagemill raises, sorted by what the caller can do about it.

ImagemillError
├─ RequestError             the asker must change something; never retried
│  ├─ UnsupportedRequest    outside the provider's capabilities
│  ├─ ContentBlocked        the provider's filter refused
│  ├─ UrlRefused            (netguard) an address that may not be connected to
│  ├─ BudgetExceeded        the ceiling would be passed
│  └─ RunStopped            somebody stopped the run before this image was sent
├─ ProviderError
│  ├─ ProviderMisconfigured key, endpoint or model refused; the whole run stops sending
│  │  └─ GpuLost            local: this process draws nothing more; another one may
│  ├─ RateLimited           carries `retry_after_s`; retried
│  ├─ QuotaExhausted        a per-day quota is spent; not retried today
│  ├─ ProviderUnavailable   refused before it was billed (5xx, no connection); retried
│  ├─ NoImage               answered, billed for words, no picture in it; retried a few times
│  ├─ JudgeFailed           a judgement that is none: unparsable, cut or blocked; never a pass
│  └─ AnswerLost            sent, and the answer never came whole: ambiguous, counted as spent
├─ ArtifactError            bytes missing, undecodable, or their digest differs
│  └─ StoreError            the object store refused or is away
│     ├─ StoreUnavailable   away for now; the upload is retried, the image is not paid again
│     └─ StoreMisconfigured wrong secret, bucket or endpoint
├─ LedgerError
│  ├─ KeyHeld               another run is paying for this very image now; retried until it is done
│  └─ AmbiguousOutcome      an earlier attempt may have been billed; resent only on request
├─ WebhookError             not delivered
└─ ServiceError             a local service (Prefect, object store) is away or in the way

Messages never contain prompt text: only the first 12 hex digits of its digest.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar


class Billing(StrEnum):
    """What a failed attempt did to the bill."""

    NOT_BILLED = "not_billed"
    BILLED = "billed"
    UNKNOWN = "unknown"


class ImagemillError(Exception):
    """Base of all. `remedy` says what to do, in one sentence.

    Args:
        message: What was asked and what was allowed. Never prompt text.
        remedy: What to do next.
        cost_usd: What the attempt was billed all the same (words of a blocked prompt).
    """

    error_class: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    billing: ClassVar[Billing] = Billing.NOT_BILLED

    def __init__(
        self, message: str = "", *, remedy: str = "", cost_usd: Decimal = Decimal(0)
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.cost_usd = cost_usd

    def __str__(self) -> str:
        """Message and remedy in one line."""
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes, so that keyword arguments survive a process border."""
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(cls: type[ImagemillError], state: dict[str, Any]) -> ImagemillError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


class RequestError(ImagemillError):
    """The request itself is wrong; sending it again changes nothing."""

    error_class = "request"


class UnsupportedRequest(RequestError):
    """The provider or model cannot do what was asked."""

    error_class = "unsupported"


class ContentBlocked(RequestError):
    """The provider's filter refused the prompt or the picture. Words in the prompt were billed."""

    error_class = "blocked"
    billing = Billing.BILLED

    def __init__(
        self,
        message: str = "",
        *,
        remedy: str = "",
        reason: str = "",
        cost_usd: Decimal = Decimal(0),
    ) -> None:
        super().__init__(message, remedy=remedy, cost_usd=cost_usd)
        self.reason = reason


class BudgetExceeded(RequestError):
    """The next image could pass the budget, so it was not started."""

    error_class = "budget"


class RunStopped(RequestError):
    """Somebody stopped the run; this image was not sent and cost nothing."""

    error_class = "stopped"


class ProviderError(ImagemillError):
    """The provider did not deliver an image."""

    error_class = "provider"


class ProviderMisconfigured(ProviderError):
    """Key, endpoint, project or model is refused: every further request would fail alike."""

    error_class = "misconfigured"


class GpuLost(ProviderMisconfigured):
    """The GPU's context is gone; nothing more can be drawn by this process, only by another one."""

    error_class = "gpu_lost"


class RateLimited(ProviderError):
    """The provider asked to slow down. `retry_after_s` is its own word, or None."""

    error_class = "rate_limited"
    retryable = True

    def __init__(
        self, message: str = "", *, remedy: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class QuotaExhausted(ProviderError):
    """A per-day or spend quota is used up; waiting seconds will not help."""

    error_class = "quota"


class ProviderUnavailable(ProviderError):
    """Nothing was made: no connection, or the server said 5xx, which it does not bill."""

    error_class = "unavailable"
    retryable = True


class NoImage(ProviderError):
    """A whole answer without a picture in it. What it did bill (words) is in the ledger."""

    error_class = "no_image"
    retryable = True
    billing = Billing.BILLED


class JudgeFailed(ProviderError):
    """A judge answered, and not with a judgement. `reason` is one word; the loop decides what next.

    `cost_usd` is what the answer was billed; of an answer that was lost, its worst case.
    """

    error_class = "judge"
    billing = Billing.BILLED

    def __init__(
        self,
        message: str = "",
        *,
        remedy: str = "",
        reason: str = "",
        cost_usd: Decimal = Decimal(0),
    ) -> None:
        super().__init__(message, remedy=remedy, cost_usd=cost_usd)
        self.reason = reason


class AnswerLost(ProviderError):
    """The request was sent and the answer did not come back whole: it may have been billed."""

    error_class = "ambiguous"
    billing = Billing.UNKNOWN


class ArtifactError(ImagemillError):
    """Stored or received bytes are missing, broken, or not what their digest says."""

    error_class = "artifact"


class StoreError(ArtifactError):
    """The object store did not take or give an artifact. The image itself is safe in the spool."""

    error_class = "store"


class StoreUnavailable(StoreError):
    """The object store is away or overloaded; the upload is retried."""

    error_class = "store_unavailable"
    retryable = True


class StoreMisconfigured(StoreError):
    """Wrong key, secret, bucket or endpoint."""

    error_class = "store_misconfigured"


class LedgerError(ImagemillError):
    """The ledger refused."""

    error_class = "ledger"


class KeyHeld(LedgerError):
    """Another run is paying for the same image right now; ask again in a moment."""

    error_class = "held"
    retryable = True


class AmbiguousOutcome(LedgerError):
    """An earlier attempt may have been billed; it is resent only on request. `key` is its key."""

    error_class = "ambiguous"
    billing = Billing.UNKNOWN

    def __init__(
        self,
        message: str = "",
        *,
        remedy: str = "",
        cost_usd: Decimal = Decimal(0),
        key: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy, cost_usd=cost_usd)
        self.key = key


class WebhookError(ImagemillError):
    """A webhook event was not delivered."""

    error_class = "webhook"


class ServiceError(ImagemillError):
    """A local service could not be started, found or stopped."""

    error_class = "service"


def error_named(error_class: str) -> type[ImagemillError]:
    """Return the error of an `error_class`; the base where there is none."""
    todo: list[type[ImagemillError]] = [ImagemillError]
    for each in todo:
        if each.error_class == error_class:
            return each
        todo += each.__subclasses__()
    return ImagemillError
