"""What a webhook says: the event and its exact bytes. It never contains prompt text."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from imagemill.request import BatchResult, ImageResult

EventType = Literal[
    "batch.completed", "batch.partial", "batch.failed", "batch.started", "batch.progressed"
]
"""The first three are sent; `started` and `progressed` are reserved."""

MAX_BODY_BYTES = 20_000
"""Standard Webhooks asks for payloads below 20 kB; longer events carry links only."""


class WebhookEvent(BaseModel):
    """Something that happened to a batch.

    `id` is the same for the same event of the same run, so a receiver that has seen it may skip it.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    type: EventType
    timestamp: AwareDatetime
    data: dict[str, Any]

    def body(self) -> bytes:
        """Return the exact bytes to sign, store and send; call once and keep them.

        Above 20 kB, `images` and `errors` give way to `"truncated": true`; the manifest has them.
        """
        whole = self._encoded(self.data)
        if len(whole) <= MAX_BODY_BYTES:
            return whole
        short = {key: value for key, value in self.data.items() if key not in ("images", "errors")}
        return self._encoded({**short, "truncated": True})

    def _encoded(self, data: dict[str, Any]) -> bytes:
        at = self.timestamp.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        whole = {"type": self.type, "timestamp": at, "data": data}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def batch_event(result: BatchResult, *, at: datetime | None = None) -> WebhookEvent:
    """Tell how a batch ended: completed, partial (some failed) or failed (all did).

    Args:
        result: The batch. Its prompts and error messages are left out.
        at: When it ended; now by default.
    """
    if result.failure_count == 0:
        status, kind = "completed", "batch.completed"
    elif result.success_count:
        status, kind = "partial", "batch.partial"
    else:
        status, kind = "failed", "batch.failed"
    fields = {
        "id": f"msg_{result.run_id}_{status}".replace(".", "-"),
        "type": kind,
        "timestamp": at or datetime.now(UTC),
        "data": _batch_data(result, status),
    }
    return WebhookEvent.model_validate(fields)


def _batch_data(result: BatchResult, status: str) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "status": status,
        "counts": {
            "total": result.total,
            "succeeded": result.success_count,
            "failed": result.failure_count,
            "reused": result.reused_count,
            "ambiguous": result.ambiguous_count,
        },
        "cost_usd": str(result.cost_usd),
        "saved_usd": str(result.saved_usd),
        "seconds": round(result.seconds, 3),
        "provider": result.provider,
        "model": result.model,
        "drawn_by": _shares(result),
        "style_name": result.style_name,
        "manifest_url": result.manifest_url,
        "contact_sheet_url": result.contact_sheet_url,
        "gallery_url": result.gallery_url,
        "images": [_image_data(image) for image in result.results if image.success],
        "errors": [
            {"index": image.index, "status": image.status, "error_class": image.error_class}
            for image in result.results
            if not image.success
        ],
    }


def _shares(result: BatchResult) -> list[dict[str, Any]]:
    """Say who drew how many; with a fallback not only whoever was asked for."""
    drew = Counter((r.provider, r.model) for r in result.results if r.success and r.provider)
    return [
        {"provider": provider, "model": model, "images": images}
        for (provider, model), images in drew.most_common()
    ]


def _image_data(image: ImageResult) -> dict[str, Any]:
    return {
        "index": image.index,
        "status": image.status,
        "url": image.url,
        "sha256": image.sha256,
        "media_type": image.media_type,
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
    }
