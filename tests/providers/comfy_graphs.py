"""Workflows for tests: the shipped one with what matters changed."""

import copy
import json
from importlib import resources
from typing import Any

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"

_SHIPPED = resources.files("imagemill.providers.comfyui") / "workflows" / "make_panel.json"


def panel(**changes: dict[str, Any]) -> dict[str, Any]:
    """make_panel at 64 x 64; `n6={"text": ""}` changes inputs of node 6."""
    graph = copy.deepcopy(json.loads(_SHIPPED.read_text("utf-8")))
    graph["5"]["inputs"] |= {"width": 64, "height": 64}
    for node, inputs in changes.items():
        graph[node.removeprefix("n")]["inputs"] |= inputs
    return graph


def node(kind: str, *, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title or kind}}


def with_reference() -> dict[str, Any]:
    """The panel drawn from a picture that is loaded."""
    return panel(n3={"latent_image": ["11", 0]}) | {
        "10": node("LoadImage", image="example.png"),
        "11": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
    }


def renamed(graph: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """The same graph under other node ids."""

    def value(given: Any) -> Any:
        linked = isinstance(given, list) and given and given[0] in ids
        return [ids[given[0]], *given[1:]] if linked else given

    return {
        ids[name]: {**parts, "inputs": {n: value(v) for n, v in parts["inputs"].items()}}
        for name, parts in graph.items()
    }
