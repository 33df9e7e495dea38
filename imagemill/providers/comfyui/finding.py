"""Which inputs of a workflow are filled in, found by following links from the output node.

First the output, then its sampler, then what the sampler is fed by. An explicit mapping beats
guessing; a node's title breaks a tie; a tie that is left is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.comfyui.graph import (
    Graph,
    class_of,
    described,
    inputs_of,
    levels,
    links_of,
    title_of,
    upstream,
)
from imagemill.providers.comfyui.inputs import Slot, only_plain, plain_slot, texts_of

ROLES = ("output", "sampler", "positive", "negative", "seed", "size", "checkpoint", "reference")

WEIGHTS = ("ckpt_name", "unet_name")
NO_WORDS = "ConditioningZeroOut"
"""A negative made of nothing: it is fed by the positive words, and says none itself."""


@dataclass(frozen=True)
class Slots:
    """What is filled in. Empty or None where the workflow has no such thing."""

    prefix: Slot
    positive: tuple[Slot, ...]
    negative: tuple[Slot, ...]
    seed: Slot
    size: tuple[Slot, Slot] | None
    checkpoint: Slot | None
    reference: Slot | None


def find_slots(graph: Graph, mapping: Mapping[str, str]) -> Slots:
    """Return what is filled in.

    Args:
        graph: Checked (`read_graph`).
        mapping: By role, the id or the title of its node.

    Raises:
        ProviderMisconfigured: a role that is none, no or several nodes for one, or one node for
            both the positive and the negative words.
    """
    if unknown := sorted(set(mapping) - set(ROLES)):
        raise ProviderMisconfigured(
            f"The node mapping knows no {', '.join(unknown)[:200]}.",
            remedy=f"It knows {', '.join(ROLES)}.",
        )
    return _Finder(graph, mapping).slots()


class _Finder:
    def __init__(self, graph: Graph, mapping: Mapping[str, str]) -> None:
        self._graph = graph
        self._mapping = mapping
        self._output = self._node("output", self._outputs(), needed=True)
        self._above = upstream(graph, self._output)
        # Where words and seed are mapped, a workflow may have no sampler that we would know.
        free = {"positive", "seed"} <= set(mapping)
        found = self._samplers()
        self._sampler = self._node("sampler", found[:1] if free else found, needed=not free)

    def slots(self) -> Slots:
        positive, negative = self._words("positive"), self._words("negative")
        if not positive:
            raise _missing("positive", "words")
        if set(positive) & set(negative):
            raise ProviderMisconfigured(
                "Positive and negative words both come from node "
                f"{described(self._graph, positive[0].node)}.",
                remedy="Give the sampler's negative input a text node of its own.",
            )
        return Slots(
            prefix=Slot(self._output, "filename_prefix"), positive=positive, negative=negative,
            seed=self._seed(), size=self._size(), checkpoint=self._checkpoint(),
            reference=self._reference(),
        )  # fmt: skip

    # --- which node -----------------------------------------------------------------------------

    def _node(self, role: str, candidates: Sequence[str], *, needed: bool = False) -> str:
        """Return the node of a role, "" for none.

        Raises:
            ProviderMisconfigured: a wrong mapping; several, and no title decides; none and `needed`.
        """
        if role in self._mapping:
            return self._mapped(role)
        if len(candidates) > 1:
            candidates = self._titled(role, candidates) or self._refuse(role, candidates)
        if not candidates and needed:
            raise _missing(role, "node")
        return candidates[0] if candidates else ""

    def _titled(self, role: str, nodes: Sequence[str]) -> list[str]:
        """Return the one node whose title has the role in it; none where several have."""
        titled = [node for node in nodes if role in title_of(self._graph, node).casefold()]
        return titled if len(titled) == 1 else []

    def _refuse(self, role: str, nodes: Sequence[str]) -> list[str]:
        raise ProviderMisconfigured(
            f"Several nodes could be the {role} of the workflow: {described(self._graph, *nodes)}.",
            remedy=f"Map {role} to one of them by id or title (docs/comfyui.md).",
        )

    def _mapped(self, role: str) -> str:
        named = self._mapping[role]
        if named in self._graph:
            return named
        found = [node for node in self._graph if title_of(self._graph, node) == named]
        if len(found) == 1:
            return found[0]
        these = f": {described(self._graph, *found)}" if found else ""
        raise ProviderMisconfigured(
            f"The mapping of {role} names {len(found)} nodes by id or title, not one{these}.",
            remedy="Name the node's id, as it stands in the exported file.",
        )

    def _outputs(self) -> list[str]:
        """Nodes that save pictures under a prefix: a new prefix is what gets past the cache."""
        return [
            node
            for node in self._graph
            if "filename_prefix" in inputs_of(self._graph, node)
            and "images" in links_of(self._graph, node)
        ]

    def _samplers(self) -> list[str]:
        found = ((node, links_of(self._graph, node)) for node in self._above)
        return [
            node
            for node, links in found
            if "latent_image" in links and ("positive" in links or "guider" in links)
        ]

    # --- words ----------------------------------------------------------------------------------

    def _words(self, role: str) -> tuple[Slot, ...]:
        mapped = role in self._mapping
        node = self._mapped(role) if mapped else self._encoder(role)
        names = texts_of(self._graph, node) if node else []
        if mapped and not (names := names or only_plain(self._graph, node, str)):
            raise _missing(role, "words")
        found = (plain_slot(self._graph, Slot(node, name), str) for name in names)
        return tuple(dict.fromkeys(found))

    def _encoder(self, role: str) -> str:
        """Return the nearest node with words, from the sampler's conditioning upwards."""
        seen: set[str] = set()
        level = self._conditioning(role)
        while level:
            if hits := [node for node in level if texts_of(self._graph, node)]:
                return self._node(role, hits)
            seen.update(level)
            ahead = (target for node in level for target in self._lane(node, role))
            level = [node for node in dict.fromkeys(ahead) if node not in seen]
        return ""

    def _conditioning(self, role: str) -> list[str]:
        links = self._sampler_links
        if "guider" in links:
            links = links_of(self._graph, links["guider"])
            if role == "positive" and "conditioning" in links:
                return [links["conditioning"]]
        return [links[role]] if role in links else []

    def _lane(self, node: str, role: str) -> list[str]:
        """Return what feeds a node's conditioning; past a ControlNet both kinds run side by side."""
        if class_of(self._graph, node) == NO_WORDS:
            return []
        links = links_of(self._graph, node)
        if role in links:
            return [links[role]]
        conditioning = [target for name, target in links.items() if "conditioning" in name]
        return conditioning or list(links.values())

    # --- the rest -------------------------------------------------------------------------------

    @property
    def _sampler_links(self) -> dict[str, str]:
        return links_of(self._graph, self._sampler) if self._sampler else {}

    def _seed(self) -> Slot:
        node = self._node("seed", [self._sampler])
        noise = links_of(self._graph, node).get("noise")
        for each in filter(None, (node, noise)):
            for name in ("seed", "noise_seed"):
                if name in inputs_of(self._graph, each):
                    return plain_slot(self._graph, Slot(each, name), int)
        if "seed" in self._mapping and (only := only_plain(self._graph, node, int)):
            return Slot(node, only[0])
        raise _missing("seed", "input")

    def _size(self) -> tuple[Slot, Slot] | None:
        """Return width and height; None where a picture that is loaded decides them."""
        node = self._node("size", self._sized_latents())
        if not node:
            return None
        if not {"width", "height"} <= set(inputs_of(self._graph, node)):
            raise _missing("size", "width and height")
        width = plain_slot(self._graph, Slot(node, "width"), int)
        height = plain_slot(self._graph, Slot(node, "height"), int)
        if width == height:
            raise _missing("size", "width besides the height")
        return width, height

    def _sized_latents(self) -> list[str]:
        start = self._sampler_links.get("latent_image", "")
        for level in levels(self._graph, start) if start else ():
            sized = [n for n in level if {"width", "height"} <= set(inputs_of(self._graph, n))]
            if sized:
                return sized
        return []

    def _checkpoint(self) -> Slot | None:
        node = self._node("checkpoint", [self._sampler])
        seen: set[str] = set()
        while node and node not in seen:
            for name in WEIGHTS:
                if isinstance(inputs_of(self._graph, node).get(name), str):
                    return Slot(node, name)
            seen.add(node)
            links = links_of(self._graph, node)
            node = links.get("model") or links.get("guider") or ""
        if "checkpoint" in self._mapping:
            raise _missing("checkpoint", " or ".join(WEIGHTS))
        return None

    def _reference(self) -> Slot | None:
        """Return where a reference goes. Several loaded pictures that no title tells apart stay."""
        loaded = [node for node in self._above if class_of(self._graph, node) == "LoadImage"]
        only = loaded if len(loaded) == 1 else self._titled("reference", loaded)
        node = self._node("reference", only)
        if node and "image" not in inputs_of(self._graph, node):
            raise _missing("reference", "image input")
        return Slot(node, "image") if node else None


def _missing(role: str, what: str) -> ProviderMisconfigured:
    more = " Preview nodes do not count: add a Save Image node." if role == "output" else ""
    return ProviderMisconfigured(
        f"The workflow's {role} was not found: no {what} where its links lead.",
        remedy=f"Map {role} to a node by id or title (docs/comfyui.md).{more}",
    )
