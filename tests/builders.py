"""Inputs for tests: change only what matters to the promise."""

from decimal import Decimal

from imagemill.artifact import ArtifactRef
from imagemill.ledger import Ask
from imagemill.ledger.holder import holder
from imagemill.ledger.values import Payment
from imagemill.request import BatchRequest, ImageRequest, ImageResult


def image_request(**changes) -> ImageRequest:
    """One plain request for the sketch provider."""
    fields = {
        "provider": "sketch",
        "model": "sketch-1",
        "prompt": "a red fox in the snow",
        "subject": "a red fox in the snow",
        "style": "Flat Corporate",
        "size": "256",
    }
    return ImageRequest(**{**fields, **changes})


def batch_request(**changes) -> BatchRequest:
    """A batch of three prompts for the sketch provider."""
    fields = {"prompts": ("a red fox", "a blue whale", "a green tree"), "provider": "sketch"}
    return BatchRequest(**{**fields, **changes})


DIGEST = "ab" * 32


def ask(**changes) -> Ask:
    """A request to the ledger for one key."""
    fields = {
        "key": "f" * 64,
        "run_id": "run-1",
        "lineage": "run-1",
        "holder": holder(),
        "provider": "gemini",
        "model": "m",
        "worst_case_usd": Decimal("0.0336"),
    }
    return Ask(**{**fields, **changes})


def payment(**changes) -> Payment:
    """One small picture, paid."""
    artifact = ArtifactRef(digest=DIGEST, size_bytes=10, width_px=8, height_px=8)
    return Payment(**{"artifact": artifact, "cost_usd": Decimal("0.03"), **changes})


def image_result(**changes) -> ImageResult:
    """One made image."""
    fields = {
        "index": 0, "prompt": "a red fox", "success": True, "status": "made", "key": "f" * 64,
        "sha256": DIGEST, "media_type": "image/png",
    }  # fmt: skip
    return ImageResult(**{**fields, **changes})
