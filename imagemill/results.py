"""What is said of each image at the end: made, reused, failed, ambiguous or not started."""

from decimal import Decimal
from pathlib import Path

from imagemill.errors import AmbiguousOutcome, Billing, ImagemillError
from imagemill.ledger import Reused
from imagemill.request import ImageRequest, ImageResult
from imagemill.workshop import Workshop


def made_result(
    shop: Workshop,
    index: int,
    paid: Reused,
    *,
    attempt: int,
    path: Path,
    preview_path: str | None = None,
) -> ImageResult:
    """Return the result of an image that lies at `path` and in the store, and who drew it."""
    request, artifact = shop.requests[index], paid.artifact
    reused = paid.run_id != shop.run.id
    return ImageResult(
        index=index,
        prompt=request.subject,
        success=True,
        status="reused" if reused else "made",
        key=paid.key,
        sample=request.sample,
        style_name=_style_name(shop, request),
        provider=paid.provider,
        model=paid.model,
        local_path=str(path),
        preview_path=preview_path,
        url=shop.store.url(artifact),
        sha256=artifact.digest,
        media_type=artifact.media_type,
        width_px=artifact.width_px,
        height_px=artifact.height_px,
        size_bytes=artifact.size_bytes,
        cost_usd=paid.cost_usd,
        seconds=0.0 if reused else paid.seconds,
        attempts=0 if reused else attempt,
        reused=reused,
        seed=paid.seed,
        facts={} if reused else shop.facts.get(paid.key, {}),
    )


def failure_of(
    shop: Workshop, index: int, error: BaseException | None, *, attempts: int
) -> ImageResult:
    """Return the result of an image that was not delivered, saying what to do about it."""
    route = shop.asked.get(index)
    request = (route or shop.routes[0]).requests[index]
    known = error if isinstance(error, ImagemillError) else None
    message = (
        str(known) if known else f"Unexpected {type(error).__name__}; see the log of this run."
    )
    status = "not_started" if attempts == 0 else "failed"
    if known and known.billing is Billing.UNKNOWN:
        status = "ambiguous"
    return ImageResult(
        index=index,
        prompt=request.subject,
        success=False,
        status=status,
        key=(known.key if isinstance(known, AmbiguousOutcome) else "") or request.key,
        sample=request.sample,
        style_name=_style_name(shop, request),
        provider=route.name if route else "",
        model=request.model if route else "",
        cost_usd=known.cost_usd if known else Decimal(0),
        attempts=attempts,
        error=message,
        error_class=known.error_class if known else "unexpected",
    )


def _style_name(shop: Workshop, request: ImageRequest) -> str:
    """Return the style of an image where rows may differ in it; else the batch says it for all."""
    return request.style if shop.batch.rows else ""
