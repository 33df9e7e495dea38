"""The shapes of a real ComfyUI's answers: keys and types, no values, so no prompt and no path.

`python -m tests.wire.comfy_shapes SAMPLES` reads recorded exchanges (NN_name.json with request and
response) and writes comfy_shapes.json beside this file. Recorded from ComfyUI 0.3.64.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")

USED = (
    1, 4, 5, 6, 7, 8, 11, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 32, 33, 37, 43, 47, 48,
    49, 51, 52, 53, 54, 55,
)  # fmt: skip
"""Samples of what the client asks; the rest is websocket, other routes and other parameters."""

_ID = re.compile(r"\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPAQUE = ("required", "optional", "hidden", "current_inputs", "received_value", "input_order")
"""Whose keys are the asker's or the node's own."""


def shape(value: Any) -> Any:
    """Return a JSON value with types for values; ids and graphs lose their names."""
    match value:
        case dict() if value and all(
            isinstance(v, dict) and "class_type" in v and "inputs" in v for v in value.values()
        ):
            return "graph"
        case dict() if value and all(_ID.fullmatch(key) for key in value):
            return {"<id>": merged([shape(each) for each in value.values()])}
        case dict():
            return {k: "opaque" if k in _OPAQUE else _told(k, v) for k, v in sorted(value.items())}
        case list():
            return [merged([shape(each) for each in value])] if value else []
    return type(value).__name__


def _told(key: str, value: Any) -> Any:
    if key == "messages":  # pairs of type and data
        return {kind: shape(data) for kind, data in value}
    if key in ("queue_running", "queue_pending", "prompt"):
        items = value if key != "prompt" else [value]
        return [
            [shape(part) if i != 3 else "opaque" for i, part in enumerate(each)]
            for each in items[:1]
        ]
    if key == "input_config":
        return [shape(value[0]), "opaque"] if len(value) > 1 else [shape(value[0])]
    return shape(value)


def merged(shapes: list[Any]) -> Any:
    """Return the one shape of all, or all of them, each once."""
    different = [each for n, each in enumerate(shapes) if each not in shapes[:n]]
    return different[0] if len(different) == 1 else different


def answer_shape(status: int, content_type: str | None, body: Any) -> dict[str, Any]:
    kind = (content_type or "").split(";")[0]
    told = shape(body) if kind == "application/json" else "bytes" if kind else "nothing"
    return {"status": status, "content_type": kind, "body": told}


def recorded() -> dict[str, dict[str, Any]]:
    """Return the committed shapes by the names of their samples."""
    return json.loads(FILE.read_text("utf-8"))


def main(folder: Path) -> None:
    found = {}
    for number in USED:
        (file,) = folder.glob(f"{number:02}_*.json")
        reply = json.loads(file.read_text("utf-8"))["response"]
        told = answer_shape(reply["status"], reply["headers"].get("content-type"), reply["body"])
        found[file.stem] = told
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
