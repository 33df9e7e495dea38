"""Inputs for the asset loop's tests; every text holds the canary that no error and no log may."""

import json

from imagemill.asset.judgement import WEIGHTS
from imagemill.asset.request import AssetRequest, StyleGuide
from tests.wire.pixels import png

CANARY = "canary in a coal mine"
PICTURE = png(b"asset", width_px=16, height_px=16)


def asset(**changes) -> AssetRequest:
    """The document's first request (003, section 8.2)."""
    fields = {
        "id": "player_001",
        "category": "sprite",
        "name": "player_idle",
        "description": f"cute {CANARY}, small and round",
        "size": {"width": 512, "height": 512},
        "purpose": "player character idle animation",
    }
    return AssetRequest.model_validate({**fields, **changes})


def guide(**changes) -> StyleGuide:
    """The document's style guide (003, section 8.2), in its own names."""
    fields = {
        "artStyle": "pixel_art",
        "colorPalette": ["#2D2D2D", "#F4A460", "#8FBC8F", "#4A90E2"],
        "pixelDensity": "32x32",
        "mood": "cheerful",
        "constraints": {"maxColors": 16, "noText": True, "transparentBackground": True},
    }
    return StyleGuide.model_validate({**fields, **changes})


def opinion(score: float | dict[str, float] = 90, *suggestions: str) -> str:
    """What the judge model answers: one score for all criteria, or one for each."""
    scores = score if isinstance(score, dict) else dict.fromkeys(WEIGHTS, score)
    metrics = {
        name: {"score": each, "feedback": f"{name} of the {CANARY}.", "suggestions": [f"Mend {name}"]}
        for name, each in scores.items()
    }  # fmt: skip
    return json.dumps({**metrics, "improvement_suggestions": list(suggestions)})
