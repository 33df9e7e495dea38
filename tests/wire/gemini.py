"""A fake Gemini over HTTP, with a script of faults and a bill that can be read.

In a test: `with FakeGemini() as fake: GeminiProvider(api_key="k", base_url=fake.url)`.
For benches and kill tests: `python -m tests.wire.gemini --port 8099 --latency 1.0 --size 64`.

GET  /_stats    requests, images_served, images_billed, in_flight, max_in_flight, by_key, ...
POST /_script   {"latency_s": 0.2, "faults": [{"kind": "rate_limited", "nth": [3]}]}: replaces
                what it names; see `Script` and `Fault`.
POST /_reset    forget counts, faults and latency.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import re
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.wire.faults import BROKEN, PICTURE, Fault, answer, broken_reply, error_reply, is_billed
from tests.wire.http_server import HttpServer, Reply, Request
from tests.wire.pixels import png, sides_px
from tests.wire.words import text_reply

_CALL = re.compile(r"models/([^:/?]+)(?::(\w+))?(?:\?.*)?$")
_TOKENS = {"512": 747, "1K": 1120, "2K": 1680, "4K": 2520}


@dataclass
class Script:
    """How the fake behaves. `size_px` is the side of a square picture; 0 follows the request.

    `deterministic` makes the picture a function of prompt and seed; otherwise each is unique, so
    that two payments for one picture cannot look like one. `painter` and `writer`, set from a
    test of this process, answer instead (tests.wire.artist, tests.wire.critic).
    """

    latency_s: float = 0.0
    size_px: int = 64
    deterministic: bool = False
    noise: bool = False
    text_answer: str = "{}"
    text_answers: list[str] = field(default_factory=list)  # given first, in order
    api_key: str = ""
    painter: Callable[[str], bytes] | None = None  # a picture for a prompt
    writer: Callable[[dict[str, Any]], str] | None = None  # words for a whole question
    faults: list[Fault] = field(default_factory=list)

    def changed(self, values: dict[str, Any]) -> "Script":
        known = {f.name for f in fields(self)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown in a script: {sorted(unknown)}; known: {sorted(known)}")
        if "faults" in values:
            values = {**values, "faults": [Fault.of(rule) for rule in values["faults"]]}
        return replace(self, **values)


@dataclass
class Stats:
    """What the server saw. Times are seconds since the epoch, when a request was complete."""

    requests: int = 0
    lookups: int = 0
    images_served: int = 0
    images_billed: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    by_key: dict[str, dict[str, int]] = field(default_factory=dict)
    timestamps: list[float] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    used: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # model, usageMetadata


class FakeGemini:
    """The server. `url` is the base_url for a client; `requests` the last bodies, parsed."""

    def __init__(self, **script: Any) -> None:
        self._first = Script().changed(script)
        self._server = HttpServer(self._handle)
        self._numbers = count(1)
        self.last: deque[tuple[Request, dict[str, Any]]] = deque(maxlen=200)
        self._script, self._stats = self._first, Stats()
        self._arrived = threading.Event()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def stats(self) -> Stats:
        return self._stats

    def script(self, **values: Any) -> None:
        """Change behaviour from another thread; takes what POST /_script takes."""
        self._script = self._script.changed(values)

    def reset(self) -> None:
        self._script, self._stats = self._first, Stats()
        self.last.clear()

    def arrival(self) -> threading.Event:
        """An event that is set when the next generate request has come in."""
        self._arrived = threading.Event()
        return self._arrived

    def __enter__(self) -> "FakeGemini":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def serve(self, *, host: str, port: int) -> None:
        await self._server.serve(host=host, port=port, announce=lambda url: print(url, flush=True))

    async def _handle(self, request: Request) -> Reply:
        try:
            if request.path.startswith("/_"):
                return self._control(request)
            call = _CALL.search(request.path)
            if call is None:
                return Reply(status=404, body=b"{}")
            if request.method == "GET":
                return self._lookup(request, call[1])
            return await self._paid(request, model=call[1], method=call[2])
        except ValueError as error:
            return Reply(status=400, body=json.dumps({"error": {"message": str(error)}}).encode())

    def _control(self, request: Request) -> Reply:
        if request.path == "/_script":
            self.script(**json.loads(request.body or b"{}"))
        elif request.path == "/_reset":
            self.reset()
        return Reply(body=json.dumps(vars(self._stats)).encode())

    def _lookup(self, request: Request, model: str) -> Reply:
        self._stats.lookups += 1
        if reply := self._wrong_key(request):
            return reply
        fault = self._fault(self._stats.lookups, "", on="lookup")
        if fault:
            return error_reply(fault, "") or Reply(drop=True)
        return Reply(body=json.dumps({"name": f"models/{model}"}).encode())

    async def _paid(self, request: Request, *, model: str, method: str) -> Reply:
        """One generate request, counted from its last byte in to its first byte out."""
        stats = self._stats
        _counting.set(stats)
        stats.requests += 1
        number = stats.requests
        stats.timestamps.append(time.time())
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        try:
            return await self._answer(request, number=number, model=model, method=method)
        finally:
            stats.in_flight -= 1

    async def _answer(self, request: Request, *, number: int, model: str, method: str) -> Reply:
        body = json.loads(request.body)
        self.last.append((request, body))
        self._arrived.set()
        prompt = _prompt(body)
        name = request.headers.get("x-imagemill-key") or hashlib.sha256(prompt.encode()).hexdigest()
        mine = self._stats.by_key.setdefault(name, {"requests": 0, "served": 0, "billed": 0})
        mine["requests"] += 1
        fault = self._fault(number, prompt)
        if fault:
            self._stats.faults[fault.kind] = self._stats.faults.get(fault.kind, 0) + 1
        if fault and fault.kind == "stall":
            self._bill(mine, fault)
            await request.gone.wait()
            return Reply(drop=True)
        if delay_s := (fault and fault.latency_s) or self._script.latency_s:
            await asyncio.sleep(delay_s)  # goes on, and bills, when the client has left
        if reply := self._wrong_key(request) or (fault and error_reply(fault, prompt)):
            return reply
        if method == "predict":
            return self._predicted(body, mine, fault)
        return await self._generated(body, model, mine, fault)

    def _wrong_key(self, request: Request) -> Reply | None:
        if self._script.api_key in {"", request.headers.get("x-goog-api-key")}:
            return None
        return error_reply(Fault("key_refused"), "")

    def _fault(self, number: int, prompt: str, *, on: str = "generate") -> Fault | None:
        rules = (fault for fault in self._script.faults if fault.on == on)
        return next((fault for fault in rules if fault.takes(number, prompt)), None)

    async def _generated(
        self, body: dict[str, Any], model: str, mine: dict[str, int], fault: Fault | None
    ) -> Reply:
        config = body.get("generationConfig", {})
        kind = fault.kind if fault else PICTURE
        if "IMAGE" not in config.get("responseModalities", []):
            return self._counted(model, await self._worded(body, fault))
        wanted = config.get("imageConfig", {})
        image = await self._painted(body, wanted)
        tokens = _TOKENS.get(wanted.get("imageSize", "1K"), 1120)
        told = answer(image, kind=kind, prompt=_prompt(body), model=model, tokens=tokens)
        whole = json.dumps(told).encode()
        self._bill(mine, fault)
        _counting.get().used.append((model, told.get("usageMetadata", {})))
        reply = broken_reply(fault, whole, image) if fault else Reply(body=whole)
        broken = b"inlineData" not in whole or (fault is not None and fault.kind in BROKEN)
        return reply if broken else self._served(reply, mine)

    async def _worded(self, body: dict[str, Any], fault: Fault | None) -> Reply:
        later, writer = self._script.text_answers, self._script.writer
        if writer and not later:
            return text_reply(await asyncio.to_thread(writer, body), fault)
        return text_reply(later.pop(0) if later else self._script.text_answer, fault)

    def _counted(self, model: str, reply: Reply) -> Reply:
        """Remember the tokens of an answer in words, as the server bills them."""
        with suppress(ValueError):
            usage = json.loads(reply.body).get("usageMetadata", {})
            _counting.get().used.append((model, usage))
        return reply

    def _predicted(self, body: dict[str, Any], mine: dict[str, int], fault: Fault | None) -> Reply:
        wanted = body.get("parameters", {})
        if fault and fault.kind == "image_safety":
            return Reply(body=b'{"predictions": [{"raiFilteredReason": "Unsafe. Code 1"}]}')
        image = self._image(body, {"aspectRatio": wanted.get("aspectRatio", "1:1")})
        self._bill(mine, fault)
        encoded = base64.b64encode(image).decode()
        made = {"mimeType": "image/png", "bytesBase64Encoded": encoded}
        return self._served(Reply(body=json.dumps({"predictions": [made]}).encode()), mine)

    async def _painted(self, body: dict[str, Any], wanted: dict[str, Any]) -> bytes:
        if self._script.painter:
            return await asyncio.to_thread(self._script.painter, _prompt(body))
        return self._image(body, wanted)

    def _image(self, body: dict[str, Any], wanted: dict[str, Any]) -> bytes:
        script = self._script
        width_px, height_px = sides_px(
            side_px=script.size_px,
            aspect_ratio=wanted.get("aspectRatio") or "1:1",
            size=wanted.get("imageSize") or "",
        )
        seed = body.get("generationConfig", {}).get("seed")
        fixed = f"{_prompt(body)}|{seed}"
        unique = fixed if script.deterministic else f"{next(self._numbers)}|{time.time_ns()}"
        return png(unique.encode(), width_px=width_px, height_px=height_px, noise=script.noise)

    def _bill(self, mine: dict[str, int], fault: Fault | None) -> None:
        billed = fault is None or is_billed(fault)
        _counting.get().images_billed += billed
        mine["billed"] += billed

    def _served(self, reply: Reply, mine: dict[str, int]) -> Reply:
        """Count the picture as served once it went out to a client that is still there."""

        stats = _counting.get()

        def sent() -> None:
            stats.images_served += 1
            mine["served"] += 1

        return replace(reply, sent=sent)


_counting: ContextVar[Stats] = ContextVar("_counting")
"""The counts that a request belongs to: one that a test left on the wire is not the next test's."""


def _prompt(body: dict[str, Any]) -> str:
    if "instances" in body:
        return body["instances"][0].get("prompt", "")
    parts = body["contents"][0]["parts"]
    return "".join(part.get("text", "") for part in parts)


def stats_at(url: str) -> dict[str, Any]:
    """GET /_stats of a fake in another process."""
    with urllib.request.urlopen(f"{url}/_stats", timeout=10) as reply:
        return json.load(reply)


def script_at(url: str, **values: Any) -> None:
    """POST /_script to a fake in another process."""
    data = json.dumps(values).encode()
    request = urllib.request.Request(f"{url}/_script", data=data, method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def main() -> None:
    """Serve until interrupted; the address is the first line on standard output."""
    parser = argparse.ArgumentParser(description="A fake Gemini over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per image")
    parser.add_argument("--size", type=int, default=64, help="side in px; 0 follows the request")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--noise", action="store_true", help="pictures that do not compress")
    parser.add_argument("--script", type=Path, help="JSON as POST /_script takes it")
    options = parser.parse_args()
    script = json.loads(options.script.read_text()) if options.script else {}
    fake = FakeGemini(
        **{
            "latency_s": options.latency,
            "size_px": options.size,
            "deterministic": options.deterministic,
            "noise": options.noise,
            **script,
        }
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(fake.serve(host=options.host, port=options.port))


if __name__ == "__main__":
    main()
