"""A workflow in API format as a graph: read and checked once, walked along its links.

Node ids are any text and titles are free, in any language; what a node is, its links say. Input
values may be prompt text: no message here repeats one.
"""

import json
from collections.abc import Iterator
from typing import Any

from imagemill.errors import ProviderMisconfigured

Graph = dict[str, dict[str, Any]]
"""By node id: `class_type`, `inputs`, and `_meta` with a title."""

HOW_TO_EXPORT = "In ComfyUI choose Workflow → Export (API) and use that file."


def read_graph(text: str, *, name: str) -> Graph:
    """Return the nodes of a workflow.

    Args:
        text: JSON.
        name: What messages call the workflow.

    Raises:
        ProviderMisconfigured: no JSON, the editor's format, no nodes, or a link that points nowhere.
    """
    try:
        graph = json.loads(text)
    except ValueError:
        graph = None
    if not isinstance(graph, dict) or not graph:
        raise ProviderMisconfigured(f"{name} is not the JSON of a workflow.", remedy=HOW_TO_EXPORT)
    if isinstance(graph.get("nodes"), list):
        raise ProviderMisconfigured(
            f"{name} is in the editor's own format, which the server does not run.",
            remedy=HOW_TO_EXPORT,
        )
    for node, parts in graph.items():
        if not _is_node(parts):
            raise ProviderMisconfigured(
                f"{name}: entry {node[:60]!r} is no node with a class_type and inputs.",
                remedy=HOW_TO_EXPORT,
            )
    _check_links(graph, name=name)
    return graph


def _is_node(parts: object) -> bool:
    return (
        isinstance(parts, dict)
        and isinstance(parts.get("class_type"), str)
        and isinstance(parts.get("inputs"), dict)
    )


def _check_links(graph: Graph, *, name: str) -> None:
    for node in graph:
        for given, target in links_of(graph, node).items():
            if target not in graph:
                raise ProviderMisconfigured(
                    f"{name}: input {given!r} of node {described(graph, node)} is linked to node "
                    f"{target[:60]!r}, which is not there.",
                    remedy="Export the workflow again, whole.",
                )


def inputs_of(graph: Graph, node: str) -> dict[str, Any]:
    """Return a node's inputs by name."""
    found: dict[str, Any] = graph[node]["inputs"]
    return found


def class_of(graph: Graph, node: str) -> str:
    """Return a node's class, such as KSampler."""
    return str(graph[node]["class_type"])


def title_of(graph: Graph, node: str) -> str:
    """Return what the owner calls a node; "" for nothing."""
    meta = graph[node].get("_meta")
    return str(meta.get("title", "")) if isinstance(meta, dict) else ""


def linked(value: object) -> str:
    """Return the node that an input value points to, "" for a plain value.

    As the server decides (ComfyUI 0.3.64, `is_link`): a list of an id and an output's number.
    """
    match value:
        case [str() as node, int() | float() as slot] if not isinstance(slot, bool):
            return node
    return ""


def links_of(graph: Graph, node: str) -> dict[str, str]:
    """Return where a node's linked inputs come from: node ids by input name."""
    return {
        name: target for name, value in inputs_of(graph, node).items() if (target := linked(value))
    }


def levels(graph: Graph, start: str) -> Iterator[list[str]]:
    """Yield `start`, then the nodes that feed it, then those that feed them; each node once."""
    seen: set[str] = set()
    level = [start]
    while level:
        yield level
        seen.update(level)
        ahead = (target for node in level for target in links_of(graph, node).values())
        level = [node for node in dict.fromkeys(ahead) if node not in seen]


def upstream(graph: Graph, start: str) -> list[str]:
    """Return `start` and all that it needs, the nearest first."""
    return [node for level in levels(graph, start) for node in level]


def described(graph: Graph, *nodes: str) -> str:
    """Return nodes as a person finds them in the editor: `6 (CLIPTextEncode, "Positive")`."""
    told = []
    for node in nodes:
        title = title_of(graph, node)
        more = f', "{title[:60]}"' if title and title != class_of(graph, node) else ""
        told.append(f"{node[:60]} ({class_of(graph, node)[:60]}{more})")
    return ", ".join(told)
