"""Six routes of a ComfyUI server, polled: submit, wait, cancel, fetch, upload, check.

A prompt is sent once and never again: polling is what knows whether it arrived, ended or was lost.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from imagemill.errors import NoImage, ProviderError, ProviderUnavailable
from imagemill.providers.comfyui import failure
from imagemill.providers.comfyui.graph import Graph, class_of
from imagemill.providers.comfyui.line import Line, Unanswered, json_of
from imagemill.providers.comfyui.patience import Clock, Patience
from imagemill.providers.comfyui.workflow import Workflow

_CANCEL_TIMEOUT_S = 5.0

MISSES = 3
"""In a row before a prompt counts as lost: one is normal, when it ends between two questions."""

MISSES_UNSURE = 8
"""Likewise after a submission whose answer was lost: the server may still be reading it."""


@dataclass(frozen=True)
class Ended:
    """A finished entry of the history: its outputs by node, and its status."""

    outputs: dict[str, Any]
    status: dict[str, Any]


class Server:
    """One ComfyUI server, for as long as one image takes.

    Args:
        line: Open.
        workflow: Whose names may be told in errors.
        patience: How long is waited.
    """

    def __init__(self, line: Line, workflow: Workflow, patience: Patience) -> None:
        self._line = line
        self._workflow = workflow
        self._patience = patience

    async def submit(self, graph: Graph, prompt_id: str) -> tuple[str, bool]:
        """Queue a graph under our own id, once.

        Returns:
            The id the server uses, and whether it is sure to have taken the graph: after a lost
            answer only the queue and the history know.

        Raises:
            ProviderMisconfigured: the server does not run this workflow.
            UnsupportedRequest: a size or seed that it does not take.
            ProviderUnavailable: not reached, or an error of the server's own.
        """
        try:
            reply = await self._line.ask(
                "POST", "prompt", json={"prompt": graph, "prompt_id": prompt_id}
            )
        except Unanswered as error:
            if not error.sent:
                raise
            return prompt_id, False
        if reply.status_code in (502, 504):  # of a gateway: what is behind it may have taken it
            return prompt_id, False
        answer = json_of(reply)
        if reply.status_code == 400 and isinstance(answer, dict):
            raise failure.refused(400, answer, workflow=self._workflow)
        taken = answer.get("prompt_id") if isinstance(answer, dict) else None
        if reply.status_code != 200 or not isinstance(taken, str):
            raise failure.by_status(reply.status_code)
        if answer.get("node_errors"):  # it runs the good part, and would call that a success
            await self.cancel(taken)
            raise failure.refused(200, answer, workflow=self._workflow)
        return taken, True

    async def ended(self, prompt_id: str, *, sure: bool = True) -> Ended:
        """Wait until the server is done with a prompt; cancels it when it takes too long.

        In the history: done. Else in the queue: wait. Else missing; after some misses in a row it
        is lost, as in a restart.

        Raises:
            ProviderUnavailable: lost, too late, or the server went away.
        """
        patience = self._patience
        clock, misses, pause_s = Clock(patience), 0, patience.first_pause_s
        while True:
            try:
                found = await self._look(prompt_id)
            except Unanswered as error:
                clock.away(error)
            else:
                if isinstance(found, Ended):
                    return found
                misses = 0 if found else misses + 1
                if misses >= (MISSES if sure else MISSES_UNSURE):
                    raise ProviderUnavailable(
                        "ComfyUI lost the image: it is neither queued nor done (a restart does that).",
                        remedy="It is tried again.",
                    )
                if late := clock.late(found):
                    await self.cancel(prompt_id)
                    raise late
                sure = sure or bool(found)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, patience.longest_pause_s)

    async def _look(self, prompt_id: str) -> Ended | str:
        """Return the finished entry, else "running", "pending" or "" for unknown."""
        history = await self._line.table(f"history/{prompt_id}")
        entry = history.get(prompt_id)
        if isinstance(entry, dict):
            outputs, status = entry.get("outputs"), entry.get("status")
            return Ended(
                outputs if isinstance(outputs, dict) else {},
                status if isinstance(status, dict) else {},
            )
        return _place(await self._line.table("queue"), prompt_id)

    async def cancel(self, prompt_id: str) -> None:
        """Take a prompt off the queue, and stop it if it runs: it, and nobody else's.

        A server too old to know the id in /interrupt would stop whatever runs, so it is asked only
        while ours is what runs. What fails here is let be: there is nothing left to do about it.
        """
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                await self._line.ask("POST", "queue", json={"delete": [prompt_id]})
                if _place(await self._line.table("queue"), prompt_id) == "running":
                    await self._line.ask("POST", "interrupt", json={"prompt_id": prompt_id})

    async def picture(self, ended: Ended) -> bytes:
        """Return the encoded picture of the workflow's output node.

        Raises:
            ProviderError: a node failed, or somebody interrupted it.
            ProviderUnavailable: the file is gone; the next attempt has a name of its own.
            NoImage: a success without a picture.
        """
        if ended.status and ended.status.get("status_str") != "success":
            raise failure.ended_badly(ended.status, workflow=self._workflow)
        file = _file(ended.outputs.get(self._workflow.output))
        if file is None:
            raise NoImage(
                "ComfyUI finished and its output node has no picture.",
                remedy="Run the workflow in ComfyUI's own page on that server.",
            )
        reply = await self._line.ask("GET", "view", params=file)
        if reply.status_code == 404:
            raise ProviderUnavailable(
                "ComfyUI names a picture whose file is not there any more.",
                remedy="It is tried again under a new name.",
            )
        if reply.status_code != 200:
            raise failure.by_status(reply.status_code)
        return reply.content

    async def upload(self, data: bytes, *, name: str) -> str:
        """Put a reference picture into the server's input folder; returns its name there."""
        files = {"image": (name, data, "application/octet-stream")}
        form = {"type": "input", "subfolder": "imagemill"}
        reply = await self._line.ask("POST", "upload/image", files=files, data=form)
        answer = json_of(reply)
        if reply.status_code != 200 or not isinstance(answer, dict) or not answer.get("name"):
            raise failure.by_status(reply.status_code)
        folder = str(answer.get("subfolder") or "")
        return f"{folder}/{answer['name']}" if folder else str(answer["name"])

    async def check(self) -> str:
        """Return the server's version, after making sure that it has the workflow's nodes and weights.

        Raises:
            ProviderMisconfigured: no ComfyUI, a node class or the checkpoint is not installed.
            ProviderUnavailable: not reached.
        """
        system = (await self._line.table("system_stats")).get("system")
        version = system.get("comfyui_version") if isinstance(system, dict) else None
        if not version:
            raise failure.by_status(200)
        for name in self._workflow.classes:
            known = (await self._line.table(f"object_info/{name}")).get(name)
            if not isinstance(known, dict):
                raise failure.lacks_class(name)
            self._check_weights(name, known)
        return str(version)[:40]

    def _check_weights(self, name: str, known: dict[str, Any]) -> None:
        slot = self._workflow.slots.checkpoint
        if slot is None or class_of(self._workflow.graph, slot.node) != name:
            return
        match known:
            case {"input": {"required": {**required}}} if slot.name in required:
                choices = failure.choices_of(required[slot.name])
                if self._workflow.checkpoint not in choices:
                    raise failure.not_installed(self._workflow.checkpoint, choices)


def _place(queue: dict[str, Any], prompt_id: str) -> str:
    """Return where a prompt is in an answer of /queue, of which nothing but ids is looked at."""
    for name, place in (("queue_running", "running"), ("queue_pending", "pending")):
        for item in queue.get(name) or ():
            match item:
                case [_, str() as found, *_] if found == prompt_id:
                    return place
    return ""


def _file(output: object) -> dict[str, str] | None:
    """Return what /view is asked for the first picture of an output node."""
    match output:
        case {"images": [{"filename": str() as filename, **more}, *_]}:
            kind = str(more.get("type", "output"))
            return {"filename": filename, "subfolder": str(more.get("subfolder", "")), "type": kind}
    return None
