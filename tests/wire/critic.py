"""A judge and a refiner that are not scripted: one measures the picture it is sent, one reads feedback.

The measurements are the fake's own, written without a look at `imagemill.quality`, and so are its words.
"""

import base64
import json
import re
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

CRITERIA = ("style_consistency", "technical_quality", "transparency", "game_fit", "composition")
GOOD, DULL, BAD = 96, 80, 45


def write(body: dict[str, Any]) -> str:
    """Answer a question: with a picture in it a judgement, without one a prompt."""
    parts = body["contents"][0]["parts"]
    words = "".join(part.get("text", "") for part in parts)
    pictures = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    return judged(words, pictures[0]) if pictures else refined(words)


def judged(words: str, picture: str) -> str:
    """Score a picture by what is seen in it."""
    with Image.open(BytesIO(base64.urlsafe_b64decode(picture))) as image:
        seen = np.asarray(image.convert("RGBA")).astype(float)
    found = faults(seen, words)
    scores = dict.fromkeys(CRITERIA, DULL if found else GOOD)
    scores.update({criterion: BAD for criterion, _ in found})
    metrics = {
        name: {"score": score, "feedback": "As seen.", "suggestions": []}
        for name, score in scores.items()
    }
    return json.dumps({**metrics, "improvement_suggestions": [advice for _, advice in found]})


def refined(words: str) -> str:
    """Take the current prompt and tell the painter what the feedback says."""
    current = re.search(r"CURRENT PROMPT:\n(.*?)\n\nFEEDBACK", words, re.DOTALL)
    feedback = re.search(r"FEEDBACK FROM.*?:\n(.*?)\n</data>", words, re.DOTALL)
    wishes = [line.removeprefix("- ") for line in (feedback[1] if feedback else "").splitlines()]
    before = (current[1] if current else "").strip()
    return f"{before}\n\nThis time take care: " + " ".join(wishes)


def faults(seen: np.ndarray, words: str) -> list[tuple[str, str]]:
    """Return criterion and advice for each fault, the gravest first."""
    alpha = seen[..., 3]
    grey = seen[..., :3].mean(axis=-1)
    solid = alpha > 200
    if grey[solid].std() < 6 if solid.any() else True:
        return [("composition", "There is nothing to see: draw the subject, large and visible.")]
    looks = (
        (_chequered(grey, alpha), "transparency", "Paint no checkered pattern behind it."),
        (_corners(alpha), "transparency", "Leave the four corners as background."),
        (_crumbs(alpha), "transparency", "No loose dots around the figure."),
        (_fringed(seen), "transparency", "The outline has a pale fringe; have none."),
        (_cut_off(alpha), "composition", "Show the entire figure with a margin."),
        (_soft(grey, solid), "technical_quality", "It is out of focus: make it crisp."),
        (_grainy(grey, solid), "technical_quality", "It is grainy: use flat, clean fills."),
        (_gaudy(seen, solid, words), "style_consistency", "Use far fewer colours."),
        (_misfit(seen, words), "game_fit", "It is not of the size that was ordered."),
    )
    return [(criterion, advice) for is_so, criterion, advice in looks if is_so]


def _chequered(grey: np.ndarray, alpha: np.ndarray) -> bool:
    """Nothing is clear, and the top row jumps to and fro."""
    return bool((alpha > 250).mean() > 0.97 and (np.abs(np.diff(grey[2])) > 20).sum() >= 6)


def _corners(alpha: np.ndarray) -> bool:
    n = max(2, alpha.shape[0] // 16)
    blocks = (alpha[:n, :n], alpha[:n, -n:], alpha[-n:, :n], alpha[-n:, -n:])
    return any(block.mean() > 128 for block in blocks)


def _crumbs(alpha: np.ndarray) -> bool:
    """Small islands of ink, on a coarse map."""
    k = max(1, alpha.shape[0] // 64)
    rows, columns = alpha.shape[0] // k, alpha.shape[1] // k
    map_ = alpha[: rows * k, : columns * k].reshape(rows, k, columns, k).max(axis=(1, 3)) > 30
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(map_), strict=True)}
    islands = []
    while left:
        edge, island = [left.pop()], 1
        while edge:
            y, x = edge.pop()
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            island += len(near)
            edge += near
        islands.append(island)
    return len(islands) > 1 and any(island < max(islands) / 60 for island in islands)


def _fringed(seen: np.ndarray) -> bool:
    """Half-clear pixels are nearly white, and the solid ones beside them are not."""
    alpha = seen[..., 3]
    soft = (alpha > 40) & (alpha < 200)
    white = seen[..., :3].min(axis=-1) > 170
    pale = white[soft].mean() if soft.sum() > 20 else 0.0
    return bool(pale > 0.2 and white[alpha > 250].mean() < 0.3)


def _cut_off(alpha: np.ndarray) -> bool:
    sides = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
    return any((side > 128).mean() > 0.04 for side in sides) and not _corners(alpha)


def _soft(grey: np.ndarray, solid: np.ndarray) -> bool:
    """The steepest step of an edge is a small part of its height."""
    reach = 9
    rows = np.lib.stride_tricks.sliding_window_view(grey, reach, axis=1)
    inside = np.lib.stride_tricks.sliding_window_view(solid, reach, axis=1).all(axis=-1)
    height = rows.max(axis=-1) - rows.min(axis=-1)
    step = np.abs(np.diff(rows, axis=-1)).max(axis=-1)
    edges = inside & (height > 30)
    return bool(edges.sum() > 30 and np.median(step[edges] / height[edges]) < 0.4)


def _grainy(grey: np.ndarray, solid: np.ndarray) -> bool:
    bend = np.abs(grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2])
    inside = solid[:, 2:] & solid[:, 1:-1] & solid[:, :-2]
    return bool(inside.any() and np.median(bend[inside]) > 6)


def _gaudy(seen: np.ndarray, solid: np.ndarray, words: str) -> bool:
    if "pixel" not in words[words.find("artStyle") :][:40]:
        return False
    return len(np.unique(seen[solid][:, :3], axis=0)) > 64


def _misfit(seen: np.ndarray, words: str) -> bool:
    ordered = re.search(r"SIZE IN THE GAME: (\d+)x(\d+)", words)
    if ordered is None:
        return False
    return (seen.shape[1], seen.shape[0]) != (int(ordered[1]), int(ordered[2]))
