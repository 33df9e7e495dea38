"""A ComfyUI server's refusals and failures in imagemill's tree.

Its bodies repeat the prompt, the whole graph and paths of the server (facts/comfyui.md, 2.2). What
is kept: statuses, error types, exception types, and names that are in the owner's own workflow.
"""

import re
from collections.abc import Iterator
from typing import Any

from imagemill.errors import (
    ImagemillError,
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
    UnsupportedRequest,
)
from imagemill.providers.comfyui.graph import class_of, described, inputs_of
from imagemill.providers.comfyui.workflow import Workflow

_TYPE = re.compile(r"[a-z][a-z0-9_]{1,60}")
_EXCEPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,80}")
_NODE_ID = re.compile(r"Node ID '#(.{1,60})'")
_RANGE = {"value_bigger_than_max", "value_smaller_than_min"}
_MEMORY = ("OutOfMemoryError", "MemoryError", "OOM")
MOST_NAMES = 12
"""So many installed files are named; a collection may have hundreds."""


def refused(status: int, body: object, *, workflow: Workflow) -> ImagemillError:
    """Return the error for a prompt that the server did not take, or took in part.

    Args:
        status: HTTP.
        body: Parsed JSON; anything else is left alone.
        workflow: Whose names may be told.
    """
    answer = body if isinstance(body, dict) else {}
    problems = list(_problems(answer.get("node_errors"), workflow))
    for node, name, kind, choices in problems:
        if (
            choices
            and (slot := workflow.slots.checkpoint)
            and (node, name) == (slot.node, slot.name)
        ):
            return not_installed(workflow.checkpoint, choices)
        if kind in _RANGE and workflow.fills(node, name):
            return UnsupportedRequest(
                f"ComfyUI takes no such {name} for node {described(workflow.graph, node)} ({kind}).",
                remedy="Choose another size or seed.",
            )
    if problems:
        told = "; ".join(_told(workflow, *problem[:3]) for problem in problems[:4])
        return ProviderMisconfigured(
            f"ComfyUI does not run the workflow: {told}.",
            remedy="Run it in ComfyUI's own page on that server, and export it again.",
        )
    return _refused_whole(status, answer, workflow)


def _refused_whole(status: int, answer: dict[str, Any], workflow: Workflow) -> ImagemillError:
    error = answer.get("error")
    kind = _word(error.get("type"), _TYPE) if isinstance(error, dict) else ""
    found = _NODE_ID.search(str(error.get("details", ""))) if isinstance(error, dict) else None
    if kind == "invalid_prompt" and found and found[1] in workflow.graph:
        return lacks_class(class_of(workflow.graph, found[1]))
    return ProviderMisconfigured(
        f"ComfyUI does not run the workflow (HTTP {status}{', ' + kind if kind else ''}).",
        remedy="Run it in ComfyUI's own page on that server, and export it again in API format.",
    )


def by_status(status: int) -> ProviderError:
    """Return the error for an answer that is no answer of ComfyUI's to this request."""
    if status >= 500:
        return ProviderUnavailable(
            f"ComfyUI answered {status}.", remedy="It is tried again; see the server's own log."
        )
    if status == 403:
        return ProviderMisconfigured(
            "ComfyUI refused the request (403): it checks where requests come from.",
            remedy="Address it as it listens (127.0.0.1 or its host name), with no proxy that adds "
            "an Origin header, or start it with --enable-cors-header.",
        )
    return ProviderMisconfigured(
        f"What answers at this address is no ComfyUI (HTTP {status}).",
        remedy="Correct IMAGEMILL_COMFYUI_URL or the block's base_url.",
    )


def lacks_class(name: str) -> ProviderMisconfigured:
    """Return the error for a node class that the server does not have."""
    return ProviderMisconfigured(
        f"This ComfyUI has no node {name[:80]!r}, which the workflow uses.",
        remedy="Install the custom nodes on that server, or use another workflow.",
    )


def not_installed(checkpoint: str, choices: list[str]) -> ProviderMisconfigured:
    """Return the error for weights that the server does not have; names what is there."""
    there = ", ".join(choices[:MOST_NAMES]) + (", …" if len(choices) > MOST_NAMES else "")
    return ProviderMisconfigured(
        f"ComfyUI has no checkpoint {checkpoint[:120]!r}; it has: {there or 'none at all'}.",
        remedy="Set IMAGEMILL_COMFYUI_CHECKPOINT (or the block's checkpoint) to one of them, or put "
        "the file into its models folder.",
    )


def ended_badly(status: dict[str, Any], *, workflow: Workflow) -> ProviderError:
    """Return the error for an entry of the history that is no success."""
    for kind, data in messages(status):
        if kind == "execution_interrupted":
            return ProviderUnavailable(
                "Somebody interrupted the image at the ComfyUI server.",
                remedy="It is tried again; nothing was billed.",
            )
        if kind == "execution_error":
            node = _known(data.get("node_type"), workflow)
            what = _word(data.get("exception_type"), _EXCEPTION) or "an error"
            memory = what.endswith(_MEMORY)
            remedy = "Take a smaller size or checkpoint." if memory else "See the server's own log."
            return ProviderError(f"ComfyUI's node {node} failed with {what}.", remedy=remedy)
    return ProviderError("ComfyUI ended the image without success and without a word why.")


def messages(status: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a finished entry says happened, as type and data."""
    told = status.get("messages")
    for message in told if isinstance(told, list) else ():
        match message:
            case [str() as kind, dict() as data]:
                yield kind, data


def choices_of(config: object) -> list[str]:
    """Return the names an input takes, of `[[names], {...}]` or the newer `["COMBO", {options}]`."""
    match config:
        case [list() as names, *_]:
            return [str(name) for name in names]
        case ["COMBO", {"options": list() as names}, *_]:
            return [str(name) for name in names]
    return []


def _problems(found: object, workflow: Workflow) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield node, input name, error type and the names it takes; nothing that is not ours."""
    for node, told in found.items() if isinstance(found, dict) else ():
        errors = told.get("errors") if isinstance(told, dict) else None
        if node not in workflow.graph or not isinstance(errors, list):
            continue
        for error in errors:
            extra = error.get("extra_info") if isinstance(error, dict) else None
            extra = extra if isinstance(extra, dict) else {}
            name = str(extra.get("input_name", ""))
            name = name if name in inputs_of(workflow.graph, node) else ""
            kind = _word(error.get("type"), _TYPE) if isinstance(error, dict) else ""
            choices = choices_of(extra.get("input_config")) if kind == "value_not_in_list" else []
            yield node, name, kind, choices


def _told(workflow: Workflow, node: str, name: str, kind: str) -> str:
    where = f", input {name!r}" if name else ""
    return f"node {described(workflow.graph, node)}{where}: {kind or 'refused'}"


def _known(value: object, workflow: Workflow) -> str:
    return value if isinstance(value, str) and value in workflow.classes else "(unknown)"


def _word(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
