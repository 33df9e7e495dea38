"""Inputs of nodes: which hold words, and where the plain value behind a linked one lies."""

from dataclasses import dataclass

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.comfyui.graph import Graph, described, inputs_of, linked, links_of

TEXTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt")
"""Inputs that hold words, by the encoders of ComfyUI 0.3.64; those of SDXL and Flux have two."""

PLAIN = ("value", "text", "string", "int", "seed", "noise_seed", "number")
"""Where a primitive node holds the value that other nodes are linked to."""


@dataclass(frozen=True)
class Slot:
    """One input of one node."""

    node: str
    name: str


def texts_of(graph: Graph, node: str) -> list[str]:
    """Return the names of a node's inputs that hold words, themselves or by a link."""
    inputs = inputs_of(graph, node)
    return [name for name in TEXTS if isinstance(inputs.get(name), str) or linked(inputs.get(name))]


def only_plain(graph: Graph, node: str, kind: type) -> list[str]:
    """Return the name of a node's one plain value of a kind; none where it has several."""
    names = [name for name, value in inputs_of(graph, node).items() if type(value) is kind]
    return names if len(names) == 1 else []


def plain_slot(graph: Graph, slot: Slot, kind: type) -> Slot:
    """Follow an input to the plain value behind it: a primitive node may hold it for others.

    Raises:
        ProviderMisconfigured: it is computed from several, so there is no one place to write it.
    """
    first, seen = slot, {slot}
    while target := linked(inputs_of(graph, slot.node)[slot.name]):
        slot = Slot(target, _holder(graph, target, slot.name, kind))
        if not slot.name or slot in seen:
            raise ProviderMisconfigured(
                f"Input {first.name!r} of node {described(graph, first.node)} is computed by node "
                f"{described(graph, target)}: there is no one place to write it.",
                remedy="Link it to a primitive node, or map its role to the node that holds it.",
            )
        seen.add(slot)
    return slot


def _holder(graph: Graph, node: str, wanted: str, kind: type) -> str:
    """Return the input of a linked node that decides what it hands on, "" where none alone does."""
    inputs = inputs_of(graph, node)
    for name in (wanted, *PLAIN):
        if name in inputs:
            return name
    deciding = only_plain(graph, node, kind) or list(links_of(graph, node))
    return deciding[0] if len(deciding) == 1 else ""
