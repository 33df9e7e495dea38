"""A small webhook receiver: what `make demo` delivers to, and an example of a careful receiver.

    python -m apps.receiver --port 8765

It checks each signature, takes each event once, and listens on 127.0.0.1 only.
"""

import argparse
import json
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 65_536
POLL_S = 0.02
"""How long stopping may take: the server looks this often whether it should."""


@dataclass(frozen=True)
class ReceivedEvent:
    """One event, taken once."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """An answer to give instead of the honest one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


class Receiver:
    """A receiver in a thread of its own.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        secret: `whsec_...`, shared with the sender.
        port: 0 for any free one.
        log_path: File to append each new event to, one JSON object a line.
    """

    def __init__(self, secret: str, *, port: int = 0, log_path: Path | None = None) -> None:
        self.received: list[ReceivedEvent] = []
        self.answered: list[int] = []
        """Status of every answer given so far."""
        self.duplicate_count = 0
        self._webhook = Webhook(secret)
        self._log_path = log_path
        self._script: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address to post to."""
        return f"http://127.0.0.1:{self.port}/webhook"

    @property
    def private_host(self) -> str:
        """What to list in `webhook_private_hosts` to reach it."""
        return f"127.0.0.1:{self.port}"

    def answer_next(
        self, status: int, *, times: int = 1, headers: dict[str, str] | None = None
    ) -> None:
        """Give `status` to the next `times` requests and take nothing from them."""
        self._script.extend([Answer(status, tuple((headers or {}).items()))] * times)

    def wait_for(self, count: int, *, timeout_s: float = 10.0) -> list[ReceivedEvent]:
        """Wait until `count` events have come, at most `timeout_s`; return those that have."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.received) >= count, timeout_s)
            return list(self.received)

    def events(self) -> Iterator[ReceivedEvent]:
        """Yield every event as it comes; ends only with the receiver."""
        seen = 0
        while self._thread:
            for event in self.wait_for(seen + 1, timeout_s=1.0)[seen:]:
                seen += 1
                yield event

    def start(self) -> Self:
        """Begin to listen, in a thread."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="receiver", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and free the port."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        """Decide what to answer to a request, and take the event if it is new and true."""
        with self._changed:
            answer = self._script.popleft() if self._script else self._take(headers, body)
            self.answered.append(answer.status)
            self._changed.notify_all()
        return answer

    def _take(self, headers: dict[str, str], body: bytes) -> Answer:
        try:
            # The library raises plain ValueError on a malformed signature.
            said = self._webhook.verify(body, headers)
            event = ReceivedEvent(
                id=headers["webhook-id"],
                type=said["type"],
                timestamp=said["timestamp"],
                data=said["data"],
            )
        except (WebhookVerificationError, ValueError):
            return Answer(401)
        except (KeyError, TypeError):
            return Answer(400)
        if any(event.id == seen.id for seen in self.received):
            self.duplicate_count += 1
            return Answer(200)
        if self._log_path:
            with self._log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self.received.append(event)
        return Answer(200)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the library's 5 turn senders away who come at once
    receiver: Receiver

    def server_bind(self) -> None:
        """Bind without asking DNS for this machine's name, as HTTPServer does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: a sender that hangs up is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_POST(self) -> None:
        """Take an event."""
        length = self.headers.get("content-length", "")
        if not length.isdecimal():
            self._say(Answer(411))
        elif int(length) > MAX_BODY_BYTES:
            self._say(Answer(413))
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._say(self.server.receiver.answer(headers, self.rfile.read(int(length))))

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay quiet: `received` is the log."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Receive until interrupted, writing each event to standard output."""
    parser = argparse.ArgumentParser(description="Receive imagemill's webhook events.")
    parser.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1; 0 for any")
    parser.add_argument("--secret", default="", help="whsec_...; this machine's own by default")
    options = parser.parse_args(arguments)
    with Receiver(options.secret or _own_secret(), port=options.port) as receiver:
        _say(f"Listening on {receiver.url}")
        with suppress(KeyboardInterrupt):
            for event in receiver.events():
                _say(json.dumps(asdict(event), ensure_ascii=False))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _own_secret() -> str:
    from blocks.settings import Settings
    from blocks.webhook import webhook_secret

    return webhook_secret(Settings())


if __name__ == "__main__":
    main()
