"""A fake OpenAI-compatible server: one answer, set from the test. Echoes prompts in its errors."""

import json
from typing import Any

from tests.wire.http_server import HttpServer, Reply, Request


class FakeChat:
    """Set `text`, `finish_reason`, `refusal`, `usage`, `status`, `headers`, `body`, `drop` at will."""

    def __init__(self) -> None:
        self._server = HttpServer(self._handle)
        self.text: str | None = "{}"
        self.finish_reason, self.refusal = "stop", None
        self.usage, self.drop, self.status = True, False, 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        self.requests = 0

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> "FakeChat":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def _handle(self, request: Request) -> Reply:
        self.requests += 1
        self.last: tuple[Request, dict[str, Any]] = (request, json.loads(request.body))
        if self.drop:
            return Reply(drop=True)
        if self.status != 200:
            return Reply(self.status, request.body, headers=self.headers)
        if self.body is not None:
            return Reply(body=self.body)
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        answer: dict[str, Any] = {
            "choices": [{"message": message, "finish_reason": self.finish_reason}]
        }
        if self.usage:
            answer["usage"] = {"prompt_tokens": 300, "completion_tokens": 40}
        return Reply(body=json.dumps(answer).encode())
