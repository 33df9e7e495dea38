"""A workflow that is ready to be filled in: loaded, checked, its inputs found, named by its digest.

All of it happens before the first image; afterwards a copy is filled for each attempt.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.comfyui.finding import Slots, find_slots
from imagemill.providers.comfyui.graph import Graph, class_of, inputs_of, read_graph
from imagemill.providers.comfyui.inputs import Slot

SHIPPED = ("make_panel", "make_panel_sdxl")
MAX_BYTES = 4_000_000
"""A hundred times the largest export seen; a file beyond it is another kind of JSON."""

FALLBACK_PX = (512, 512)
"""Of a workflow whose own size is no number: what every diffusion model draws."""


@dataclass(frozen=True)
class Fill:
    """What one attempt writes. Empty `negative` and `reference` leave the workflow's own."""

    positive: str
    seed: int
    prefix: str
    negative: str = ""
    size: tuple[int, int] | None = None
    reference: str = ""


@dataclass(frozen=True)
class Workflow:
    """A checked graph and where it is filled in.

    Attributes:
        model: Its name in requests: the weights, and a digest of all that decides a picture.
        plain: The same name without the digest.
    """

    graph: Graph
    slots: Slots
    model: str
    plain: str

    @property
    def output(self) -> str:
        """The node whose pictures are taken."""
        return self.slots.prefix.node

    @property
    def checkpoint(self) -> str:
        """The file of weights; "" where a node that we do not know loads them."""
        slot = self.slots.checkpoint
        return str(inputs_of(self.graph, slot.node)[slot.name]) if slot else ""

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height it was exported with, None where something else decides them."""
        if self.slots.size is None:
            return None
        match [inputs_of(self.graph, slot.node)[slot.name] for slot in self.slots.size]:
            case [int() as width, int() as height] if min(width, height) > 0:
                return width, height
        return FALLBACK_PX

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of its nodes, each once."""
        return tuple(dict.fromkeys(class_of(self.graph, node) for node in self.graph))

    def filled(self, fill: Fill) -> Graph:
        """Return a copy with words, seed, size and prefix written, and nothing else changed."""
        graph = copy.deepcopy(self.graph)
        slots = self.slots
        for slot in slots.positive:
            _write(graph, slot, fill.positive)
        for slot in slots.negative if fill.negative else ():
            _write(graph, slot, fill.negative)
        _write(graph, slots.seed, fill.seed)
        _write(graph, slots.prefix, fill.prefix)
        for slot, side in zip(slots.size or (), fill.size or (), strict=False):
            _write(graph, slot, side)
        if slots.reference and fill.reference:
            _write(graph, slots.reference, fill.reference)
        return graph

    def fills(self, node: str, name: str) -> bool:
        """Whether an input is one that an attempt writes: what is wrong with it, the asker chose."""
        slots = self.slots
        written = [*slots.positive, *slots.negative, *(slots.size or ()), slots.seed]
        return Slot(node, name) in [*written, slots.reference]


def load_workflow(
    source: str = "", *, checkpoint: str = "", mapping: Mapping[str, str] | None = None
) -> Workflow:
    """Return a workflow, checked and with its inputs found.

    Args:
        source: A path, pasted JSON, or the name of a shipped one; "" is make_panel.
        checkpoint: The file of weights to use instead of the workflow's.
        mapping: By role, the id or title of a node; beats guessing.

    Raises:
        ProviderMisconfigured: what is wrong with it, and what to do.
    """
    name, text = _read(source.strip())
    graph = read_graph(text, name=name)
    slots = find_slots(graph, mapping or {})
    if checkpoint and slots.checkpoint is None:
        raise ProviderMisconfigured(
            f"{name} has no node that loads a checkpoint of one's choice.",
            remedy="Leave the checkpoint empty, or map checkpoint to the node that loads it.",
        )
    if checkpoint and slots.checkpoint:
        _write(graph, slots.checkpoint, checkpoint)
    weights = slots.checkpoint
    file = str(inputs_of(graph, weights.node)[weights.name]) if weights else name
    plain = re.sub(r"[^\w.-]+", "_", re.split(r"[\\/]", file)[-1].rsplit(".", 1)[0])[:60]
    return Workflow(graph, slots, model=f"{plain}-{_digest(graph, slots)}", plain=plain)


def _read(source: str) -> tuple[str, str]:
    """Return what messages call the workflow, and its JSON."""
    if not source or source in SHIPPED:
        name = f"{source or SHIPPED[0]}.json"
        file = resources.files("imagemill.providers.comfyui") / "workflows" / name
        return name, file.read_text("utf-8")
    if source.startswith(("{", "[")):
        return "The pasted workflow", source
    path = Path(source).expanduser()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ProviderMisconfigured(f"{path} is too large for a workflow.")
        return path.name, path.read_text("utf-8")
    except (OSError, ValueError) as error:
        # What is no path may be a piece of a pasted workflow, with somebody's words in it.
        told = f" {source!r}" if len(source) <= 200 and not set(source) & set('{}":\n') else ""
        raise ProviderMisconfigured(
            f"The workflow{told} cannot be read ({type(error).__name__}).",
            remedy=f"Give a path on the machine that runs the worker, or {', '.join(SHIPPED)}.",
        ) from None


def _digest(graph: Graph, slots: Slots) -> str:
    """Return 8 hex digits of what decides a picture.

    Left out are titles and what every attempt writes: an export with other words or another seed is
    the same model, one with more steps is not. Own size and negative words decide, so they count.
    """
    plain: Graph = {
        node: {"class_type": parts["class_type"], "inputs": dict(parts["inputs"])}
        for node, parts in graph.items()
    }
    written: Iterable[Slot] = (*slots.positive, slots.seed, slots.prefix)
    for slot in written:
        _write(plain, slot, None)
    told = json.dumps(plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _write(graph: Graph, slot: Slot, value: Any) -> None:  # noqa: ANN401 - JSON
    graph[slot.node]["inputs"][slot.name] = value
