"""The SDK's and HTTP's exceptions in imagemill's tree.

Servers echo prompts, and the SDK's exceptions hold the whole body, the key's header and the
request. Nothing of them is kept but a status word, a reason word and the exception's type.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from imagemill.catalog import CatalogModel
from imagemill.errors import (
    AnswerLost,
    ImagemillError,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    UnsupportedRequest,
)

_WORD = re.compile(r"[A-Z][A-Z0-9_]{1,60}")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s?")
_BAD_ACCOUNT = {"FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED"}
"""400s of these statuses speak of the account (billing, country), not of the request."""


class SdkFailure(Exception):
    """Stands in for the SDK's exception as the cause of ours, without what it carried."""


@dataclass(frozen=True)
class Refusal:
    """An HTTP error answer, reduced to words that cannot hold the prompt."""

    code: int
    status: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    long_quota: bool = False

    def __str__(self) -> str:
        """Status line, e.g. `400 INVALID_ARGUMENT (API_KEY_INVALID)`."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.code} {self.status}".strip() + reason


def translated(error: Exception, *, model: CatalogModel, prompt_digest: str = "") -> ImagemillError:
    """Return the error to raise in place of `error`; see `redacted` for its cause.

    What may have reached the model and is not known to be unbilled becomes `AnswerLost`,
    whatever it is: an unknown exception counts as spent.
    """
    import google.auth.exceptions as auth
    import httpx2
    from google.genai import errors

    who = f"{model.provider}/{model.name}"
    match error:
        case errors.APIError():
            return _from_status(_refusal(error), model, prompt_digest)
        case (
            httpx2.ConnectError()
            | httpx2.ConnectTimeout()
            | httpx2.PoolTimeout()
            | httpx2.ProxyError()
            | auth.TransportError()
        ):
            return ProviderUnavailable(
                f"{who} could not be reached ({type(error).__name__}); nothing was sent.",
                remedy="Check the network and the block's base_url; it is tried again.",
            )
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL() | httpx2.LocalProtocolError():
            return ProviderMisconfigured(
                f"The address or key of {who} cannot be put into a request.",
                remedy="Check GOOGLE_GEMINI_BASE_URL or the block's base_url, and the key.",
            )
        case auth.GoogleAuthError():
            return unopened(error, vertexai=True)
    return AnswerLost(
        f"The answer of {who} to prompt {prompt_digest} did not come back whole "
        f"({type(error).__name__}); it may have been billed.",
        remedy="Look at the provider's bill, then resend ambiguous images if you wish.",
    )


def unopened(error: Exception, *, vertexai: bool) -> ProviderMisconfigured:
    """Return the error for a client that cannot be opened: nothing was sent."""
    if vertexai:
        return ProviderMisconfigured(
            f"Google's application default credentials do not work ({type(error).__name__}).",
            remedy="Run `gcloud auth application-default login`, or use an API key.",
        )
    return ProviderMisconfigured(
        f"No client for Gemini could be opened ({type(error).__name__}).",
        remedy="Check the block's base_url and the proxy and certificate settings.",
    )


def redacted(error: Exception) -> SdkFailure:
    """Return a harmless cause: the type's name and, for an HTTP error, its status words."""
    from google.genai import errors

    name = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    status = f": {_refusal(error)}" if isinstance(error, errors.APIError) else ""
    return SdkFailure(name + status)


def _from_status(refusal: Refusal, model: CatalogModel, digest: str) -> ImagemillError:
    who = f"{model.provider}/{model.name}"
    code = refusal.code
    if code == 429 and refusal.long_quota:
        return QuotaExhausted(
            f"The daily quota of {who} is used up.",
            remedy="Resume after midnight Pacific time, or raise the quota in AI Studio.",
        )
    if code == 429:
        return RateLimited(
            f"{who} asks to slow down ({refusal}).",
            remedy="Lower max_concurrent if it goes on.",
            retry_after_s=refusal.retry_after_s,
        )
    if code in {408, 499} or code >= 500:
        return ProviderUnavailable(
            f"{who} is not available ({refusal}).", remedy="It is tried again."
        )
    if code == 404:
        successor = f" Use {model.successor}." if model.successor else ""
        return ProviderMisconfigured(
            f"{who} is not there ({refusal}).",
            remedy=f"It may be retired, or closed to this key or region.{successor}",
        )
    bad_account = refusal.reason.startswith("API_KEY") or refusal.status in _BAD_ACCOUNT
    if code in {401, 402, 403, 407} or code < 400 or bad_account:
        return ProviderMisconfigured(
            f"{who} refuses the key, project or address ({refusal}).",
            remedy="Check GOOGLE_API_KEY (or GEMINI_API_KEY) or the block's api_key, its "
            "base_url and that billing is on.",
        )
    return UnsupportedRequest(
        f"{who} refuses the request for prompt {digest} as invalid ({refusal}).",
        remedy="Check size, aspect ratio, references and the length of the prompt.",
    )


def _refusal(error: Any) -> Refusal:  # noqa: ANN401 - the SDK is imported lazily
    body = error.details if isinstance(error.details, dict) else {}
    inner = body.get("error")
    facts = inner if isinstance(inner, dict) else body
    details = [item for item in _list(facts.get("details")) if isinstance(item, dict)]
    reasons = (item.get("reason") for item in details)
    retry_after_s = next(_asked_delays_s(details, error.response), None)
    return Refusal(
        code=int(error.code or 0),
        status=_word(facts.get("status")),
        reason=next(filter(None, map(_word, reasons)), ""),
        retry_after_s=retry_after_s,
        long_quota=any(_is_long(item) for item in details),
    )


def _asked_delays_s(details: list[dict[str, Any]], response: object) -> Iterator[float]:
    """Yield the server's own words on when to come back: RetryInfo first, then the header."""
    for item in details:
        if found := _DURATION.fullmatch(str(item.get("retryDelay", ""))):
            yield float(found[1])
    header = str(getattr(response, "headers", {}).get("retry-after", "")).strip()
    if found := _DURATION.fullmatch(header):
        yield float(found[1])
    elif header:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        yield max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _is_long(item: dict[str, Any]) -> bool:
    """Whether a QuotaFailure names a quota that waiting seconds does not refill."""
    names = [
        str(v.get("quotaId", "")) for v in _list(item.get("violations")) if isinstance(v, dict)
    ]
    return any("PerDay" in name or "PerMonth" in name for name in names)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
