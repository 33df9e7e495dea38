"""A fake ComfyUI over HTTP: one worker, a queue, a history, a cache, and a script of faults.

In a test: `with FakeComfy() as fake: ComfyUIProvider(load_workflow(...), base_url=fake.url)`.
Its answers have the shape of those recorded from a real server (tests/wire/comfy_shapes.json).
`python -m tests.wire.comfy --port 8188` serves one for trying.

Faults are rules (tests.wire.faults.Fault) over submissions, counted from 1. On the way in: SUBMIT;
while it runs: RUN. `polls` says of the next answers of /history and /queue: "drop" never comes,
"blank" knows nothing, "trouble" and "no access" are of the server's own, "" is as it should be.
"""

import argparse
import asyncio
import email
import email.policy
import json
import struct
import threading
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.wire.comfy_nodes import NO_PROMPT, node_classes, object_info, refusal, signature
from tests.wire.faults import Fault
from tests.wire.http_server import HttpServer, Reply, Request
from tests.wire.pixels import png

SUBMIT = (
    "server_error", "gateway_taken", "drop", "drop_after", "forbidden", "html", "not_found",
    "old_server",
)  # fmt: skip
RUN = (
    "stall", "interrupted", "node_error", "out_of_memory", "lost", "restart", "gone", "no_picture",
    "broken_picture",
)  # fmt: skip
TROUBLE = Reply(
    500, b"500 Internal Server Error\n\nServer got itself in trouble", "text/plain; charset=utf-8"
)


NOTHING = Reply(content_type="")


@dataclass
class Job:
    """One prompt on the server."""

    id: str
    number: int
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]
    fault: str = ""
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[list[Any]] = field(default_factory=list)

    @property
    def told(self) -> list[Any]:
        return [self.number, self.id, self.graph, self.extra, self.outputs]

    def say(self, kind: str, **more: Any) -> None:
        told = {"prompt_id": self.id, **more, "timestamp": int(time.time() * 1000)}
        self.messages.append([kind, told])


class FakeComfy:
    """The server. What it was asked is in `submitted`, `deleted`, `interrupts`, `uploads`, `paths`."""

    def __init__(self, *, latency_s: float = 0.0, checkpoints: tuple[str, ...] = ()) -> None:
        self.latency_s = latency_s
        self.checkpoints = list(checkpoints or ("v1-5-pruned-emaonly-fp16.safetensors",))
        self.faults: list[Fault] = []
        self.polls: list[str] = []
        self.most = 0
        self.submitted: list[Job] = []
        self.deleted: list[str] = []
        self.interrupts: list[str] = []
        self.uploads: dict[str, bytes] = {}
        self.paths: list[str] = []
        self.began = threading.Event()
        self.taken = threading.Semaphore(0)
        self.history: dict[str, dict[str, Any]] = {}
        self._server = HttpServer(self._handle)
        self._pending: list[Job] = []
        self._running: Job | None = None
        self._work: asyncio.Task[None] | None = None
        self._seen: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return self._server.url

    def fail(self, kind: str, **rule: Any) -> None:
        """Let submissions that a rule takes go wrong."""
        assert kind in SUBMIT + RUN, kind
        self.faults.append(Fault(kind, **rule))

    def __enter__(self) -> "FakeComfy":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def serve(self, *, host: str, port: int) -> None:
        await self._server.serve(host=host, port=port, announce=lambda url: print(url, flush=True))

    # --- routes ---------------------------------------------------------------------------------

    async def _handle(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        self.paths.append(f"{request.method} {url.path}")
        if "origin" in request.headers:
            return Reply(403)
        route, _, rest = url.path.removeprefix("/").partition("/")
        routes = {
            "POST prompt": lambda: self._submit(request),
            "GET history": lambda: self._told(self._history(rest)),
            "GET queue": lambda: self._told(self._queue()),
            "POST queue": lambda: self._delete(json.loads(request.body)),
            "POST interrupt": lambda: self._interrupt(json.loads(request.body or b"{}")),
            "GET view": lambda: self._view({k: v[0] for k, v in parse_qs(url.query).items()}),
            "GET system_stats": lambda: _json(SYSTEM_STATS),
            "GET object_info": lambda: self._object_info(rest),
            "POST upload": lambda: self._upload(request),
        }
        return routes.get(f"{request.method} {route}", lambda: Reply(404))()

    def _told(self, value: Any) -> Reply:
        """An answer to a poll, as the script says."""
        how = self.polls.pop(0) if self.polls else ""
        odd = {"drop": Reply(drop=True), "trouble": TROUBLE, "no access": Reply(401)}
        return odd.get(how) or _json({} if how == "blank" else value)

    def _object_info(self, name: str) -> Reply:
        classes = self._classes()
        return _json({name: object_info(name, classes[name])} if name in classes else {})

    def _classes(self) -> dict[str, Any]:
        return node_classes(self.checkpoints, [*self.uploads, "example.png"])

    def _submit(self, request: Request) -> Reply:
        try:
            body = json.loads(request.body)
        except ValueError:
            return TROUBLE
        graph = body.get("prompt")
        if graph is None:
            return _json(NO_PROMPT, 400)
        number = len(self.submitted) + 1
        rules = (rule for rule in self.faults if rule.takes(number, json.dumps(graph)))
        fault = next((rule.kind for rule in rules), "")
        early = {
            "server_error": TROUBLE, "forbidden": Reply(403), "not_found": Reply(404),
            "drop": Reply(drop=True), "html": Reply(body=b"<html>", content_type="text/html"),
        }  # fmt: skip
        job = Job(body.get("prompt_id") or str(uuid.uuid4()), number - 1, graph, {}, [], fault)
        if fault == "old_server":
            job.id = str(uuid.uuid4())
        self.submitted.append(job)
        if fault in early:
            return early[fault]
        error, node_errors, job.outputs = refusal(graph, self._classes())
        if error:
            return _json({"error": error, "node_errors": node_errors}, 400)
        self._pending.append(job)
        self.most = max(self.most, len(self._pending) + bool(self._running))
        self.taken.release()
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._run_all())
        late = {"drop_after": Reply(drop=True), "gateway_taken": Reply(504)}
        told = {"prompt_id": job.id, "number": job.number, "node_errors": node_errors}
        return late.get(fault) or _json(told)

    def _history(self, wanted: str) -> dict[str, Any]:
        return {k: v for k, v in self.history.items() if not wanted or k == wanted}

    def _queue(self) -> dict[str, Any]:
        running = [self._running.told] if self._running else []
        return {"queue_running": running, "queue_pending": [job.told for job in self._pending]}

    def _delete(self, body: dict[str, Any]) -> Reply:
        self.deleted += body["delete"]
        self._pending = [job for job in self._pending if job.id not in self.deleted]
        return NOTHING

    def _interrupt(self, body: dict[str, Any]) -> Reply:
        wanted = body.get("prompt_id")
        self.interrupts.append(wanted or "")
        if self._running and wanted in (None, self._running.id):
            self._running.interrupted.set()
        return NOTHING

    def _view(self, query: dict[str, str]) -> Reply:
        data = self._files.get(f"{query.get('subfolder', '')}/{query['filename']}")
        if data is None:
            return Reply(404, content_type="")
        return Reply(body=data, content_type="image/png", headers={"etag": '"1"'})

    def _upload(self, request: Request) -> Reply:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
        parts = {p.get_param("name", header="content-disposition"): p for p in form.iter_parts()}
        folder = parts["subfolder"].get_content().strip() if "subfolder" in parts else ""
        name, data = parts["image"].get_filename(), parts["image"].get_payload(decode=True)
        plain, number = name, 0
        while self.uploads.get(f"{folder}/{name}", data) != data:
            number += 1
            name = plain.replace(".", f" ({number}).")
        self.uploads[f"{folder}/{name}"] = data
        return _json({"name": name, "subfolder": folder, "type": "input"})

    # --- the worker -----------------------------------------------------------------------------

    async def _run_all(self) -> None:
        while self._pending:
            job = self._running = self._pending.pop(0)
            self.began.set()
            await self._run(job)
            self._running = None

    async def _run(self, job: Job) -> None:
        fault = job.fault
        job.say("execution_start")
        signatures = {node: signature(job.graph, node) for node in job.graph}
        job.say("execution_cached", nodes=[n for n, s in signatures.items() if s in self._seen])
        if fault == "interrupted":
            job.interrupted.set()
        with suppress(TimeoutError):
            wait_s = None if fault == "stall" else self.latency_s
            await asyncio.wait_for(job.interrupted.wait(), wait_s)
        if fault == "restart":
            self.history.clear()
            self._pending.clear()
        elif job.interrupted.is_set():
            job.say("execution_interrupted", node_id="3", node_type="KSampler", executed=["6"])
            self._end(job, {})
        elif fault in ("node_error", "out_of_memory"):
            self._raise(job, "torch.OutOfMemoryError" if fault == "out_of_memory" else "Exception")
        elif any(".." in job.graph[n]["inputs"]["filename_prefix"] for n in job.outputs):
            self._raise(job, "Exception", node_type="SaveImage")
        elif fault != "lost":
            self._seen |= dict.fromkeys(s for s in signatures.values() if s not in self._seen)
            outputs = {node: self._saved(job, node, signatures[node]) for node in job.outputs}
            job.say("execution_success")
            self._end(job, {} if fault == "no_picture" else outputs)

    def _saved(self, job: Job, node: str, seen: str) -> dict[str, Any]:
        """The picture of an output node: drawn, or the old one by its old name when nothing changed."""
        if self._seen.get(seen) is None:
            prefix = job.graph[node]["inputs"]["filename_prefix"]
            folder, _, name = prefix.rpartition("/")
            name = f"{name}_{len(self._files) + 1:05}_.png"
            data = picture(job.graph)
            if job.fault != "gone":
                self._files[f"{folder}/{name}"] = (
                    data[:-200] if job.fault == "broken_picture" else data
                )
            self._seen[seen] = {"filename": name, "subfolder": folder, "type": "output"}
        return {"images": [self._seen[seen]]}

    def _raise(self, job: Job, kind: str, node_type: str = "KSampler") -> None:
        words = json.dumps(job.graph)
        job.say(
            "execution_error", node_id="3", node_type=node_type, executed=[],
            exception_message=f"failed at /home/me/ComfyUI with {words}", exception_type=kind,
            traceback=[f'  File ".../execution.py", line 1, in {words}\n'],
            current_inputs={"positive": [words]}, current_outputs=["1"],
        )  # fmt: skip
        self._end(job, {})

    def _end(self, job: Job, outputs: dict[str, Any]) -> None:
        good = job.messages[-1][0] == "execution_success"
        meta = {
            node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
            for node in outputs
        }
        status = {"status_str": "success" if good else "error", "completed": good}
        self.history[job.id] = {
            "prompt": job.told, "outputs": outputs, "status": {**status, "messages": job.messages},
            "meta": meta,
        }  # fmt: skip


def picture(graph: dict[str, Any]) -> bytes:
    """A PNG of the graph's own size, with the graph in it, as SaveImage writes it."""
    sides = [n["inputs"] for n in graph.values() if "width" in n["inputs"]] or [{}]
    saved = [node for node, parts in graph.items() if parts["class_type"] == "SaveImage"]
    unique = signature(graph, graph[saved[0]]["inputs"]["images"][0])
    width_px, height_px = sides[0].get("width", 64), sides[0].get("height", 64)
    plain = png(unique.encode(), width_px=width_px, height_px=height_px)
    body = b"tEXtprompt\0" + json.dumps(graph).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return plain[:33] + chunk + plain[33:]  # behind the header


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), "application/json; charset=utf-8")


SYSTEM_STATS = {
    "system": {
        "os": "posix", "ram_total": 1, "ram_free": 1, "comfyui_version": "0.3.64",
        "required_frontend_version": "1", "installed_templates_version": None,
        "required_templates_version": "1", "python_version": "3", "pytorch_version": "2",
        "embedded_python": False, "argv": ["main.py"],
    },
    "devices": [
        {"name": "cpu", "type": "cpu", "index": None, "vram_total": 1, "vram_free": 1,
         "torch_vram_total": 1, "torch_vram_free": 1},
    ],
}  # fmt: skip


def main() -> None:
    """Serve until interrupted; the address is the first line on standard output."""
    parser = argparse.ArgumentParser(description="A fake ComfyUI over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per image")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            FakeComfy(latency_s=options.latency).serve(host=options.host, port=options.port)
        )


if __name__ == "__main__":
    main()
