"""What the fake Gemini can be told to do wrong: rules that pick requests, and the answers."""

import base64
import json
from dataclasses import dataclass, field, fields
from typing import Any

from tests.wire.http_server import Reply

RPC = "type.googleapis.com/google.rpc."


@dataclass
class Fault:
    """One rule. It fires for requests that meet every condition given; the first rule wins.

    `kind` is a name in `ERRORS` or `ANSWERS`, or in `BROKEN` or `OTHER`. `nth`, `first`, `last`, `every` count generate requests
    from 1 (or look-ups of a model, with `on="lookup"`); `prompt` is a part of the prompt; `times` is how often it fires at most.
    `billed` overrides whether the fault costs an image on the server's bill.
    """

    kind: str
    on: str = "generate"
    nth: list[int] = field(default_factory=list)
    first: int = 1
    last: int | None = None
    every: int = 1
    prompt: str = ""
    times: int | None = None
    retry_after_s: float | None = None
    retry_after_header: str = ""
    latency_s: float = 0.0
    status: int = 503
    billed: bool | None = None
    fired: int = 0

    @classmethod
    def of(cls, rule: dict[str, Any]) -> "Fault":
        known = {f.name for f in fields(cls)} - {"fired"}
        if unknown := set(rule) - known:
            raise ValueError(f"unknown in a fault: {sorted(unknown)}; known: {sorted(known)}")
        fault = cls(**rule)
        if fault.kind not in KINDS:
            raise ValueError(f"unknown kind {fault.kind!r}; known: {sorted(KINDS)}")
        return fault

    def takes(self, number: int, prompt: str) -> bool:
        hit = (
            (not self.nth or number in self.nth)
            and self.first <= number <= (self.last or number)
            and (number - self.first) % self.every == 0
            and self.prompt in prompt
            and (self.times is None or self.fired < self.times)
        )
        self.fired += hit
        return hit


def _error(code: int, status: str, message: str, details: list[dict[str, Any]]) -> Reply:
    error = {"code": code, "message": message, "status": status, "details": details}
    return Reply(status=code, body=json.dumps({"error": error}).encode())


def _key_refused(reason: str) -> list[dict[str, Any]]:
    return [{"@type": f"{RPC}ErrorInfo", "reason": reason, "domain": "googleapis.com"}]


ERRORS = {
    "bad_request": (400, "INVALID_ARGUMENT", []),
    "key_refused": (400, "INVALID_ARGUMENT", _key_refused("API_KEY_INVALID")),
    "no_billing": (400, "FAILED_PRECONDITION", []),
    "unauthenticated": (401, "UNAUTHENTICATED", []),
    "forbidden": (403, "PERMISSION_DENIED", _key_refused("SERVICE_DISABLED")),
    "model_gone": (404, "NOT_FOUND", []),
    "rate_limited": (429, "RESOURCE_EXHAUSTED", []),
    "quota_per_day": (429, "RESOURCE_EXHAUSTED", []),
    "too_slow": (408, "DEADLINE_EXCEEDED", []),
}
"""HTTP errors. Each message echoes the prompt, as servers do: nothing may repeat it."""

PICTURE = "picture"
ANSWERS: dict[str, dict[str, Any]] = {
    "no_image": {"finishReason": "NO_IMAGE"},
    "image_other": {"finishReason": "IMAGE_OTHER"},
    "text_only": {"finishReason": "STOP", "parts": [{"text": "I would rather write."}]},
    "max_tokens": {"finishReason": "MAX_TOKENS", "parts": []},
    "image_safety": {"finishReason": "IMAGE_SAFETY"},
    "prohibited": {"finishReason": "PROHIBITED_CONTENT"},
    "new_reason": {"finishReason": "A_REASON_FROM_THE_FUTURE"},
    "thoughts_first": {"finishReason": "STOP", "thoughts": True},
    "no_usage": {"finishReason": "STOP", "usage": False},
    "dear": {"finishReason": "STOP", "tokens": 20_000},
    "prompt_blocked": {"block": "PROHIBITED_CONTENT"},
    "empty": {"empty": True},
}
BROKEN = (
    "drop", "drop_midway", "truncated_json", "html", "not_an_object", "bad_base64",
    "truncated_image",
)  # fmt: skip
OTHER = ("server_error", "html_error", "redirect", "stall", "slow")
KINDS = {*ERRORS, *ANSWERS, *BROKEN, *OTHER}

BILLED = {"thoughts_first", "no_usage", "dear", *BROKEN, "stall", "slow"} - {
    "html",
    "not_an_object",
}
"""Faults after the picture was made: the server bills it though the client may never see it."""


def is_billed(fault: Fault) -> bool:
    return fault.kind in BILLED if fault.billed is None else fault.billed


def error_reply(fault: Fault, prompt: str) -> Reply | None:
    """The reply of a fault that is an HTTP error, else None."""
    if fault.kind == "server_error":
        return _error(fault.status, "UNAVAILABLE", f"overloaded by {prompt}", [])
    if fault.kind == "html_error":
        return Reply(fault.status, f"<html>{prompt}</html>".encode(), "text/html")
    if fault.kind == "redirect":
        return Reply(307, b"", headers={"location": "/elsewhere"})
    if fault.kind not in ERRORS:
        return None
    code, status, details = ERRORS[fault.kind]
    reply = _error(code, status, f"refused: {prompt}", [*details, *_quota_details(fault)])
    if fault.retry_after_header:
        reply.headers["retry-after"] = fault.retry_after_header
    return reply


def _quota_details(fault: Fault) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if fault.kind in {"rate_limited", "quota_per_day"}:
        per = "PerDay" if fault.kind == "quota_per_day" else "PerMinute"
        quota = {"quotaId": f"GenerateRequests{per}PerProjectPerModel"}
        details.append({"@type": f"{RPC}QuotaFailure", "violations": [quota]})
    if fault.retry_after_s is not None:
        details.append({"@type": f"{RPC}RetryInfo", "retryDelay": f"{fault.retry_after_s:g}s"})
    return details


def answer(
    image: bytes, *, kind: str = PICTURE, prompt: str = "", model: str = "", tokens: int = 1120
) -> dict[str, Any]:
    """A generate_content answer in REST words."""
    plan = ANSWERS.get(kind, {"finishReason": "STOP"})
    prompt_tokens = max(1, len(prompt) // 4)
    usage: dict[str, Any] = {"promptTokenCount": prompt_tokens, "totalTokenCount": prompt_tokens}
    if "block" in plan:
        return {"promptFeedback": {"blockReason": plan["block"]}, "usageMetadata": usage}
    if "empty" in plan:
        return {"usageMetadata": usage, "modelVersion": model}
    parts = plan.get("parts")
    if parts is None:
        parts = _picture_parts(image, plan) if plan["finishReason"] == "STOP" else []
    tokens = plan.get("tokens", tokens)
    if any("inlineData" in part for part in parts):
        usage |= {"candidatesTokenCount": tokens, "totalTokenCount": prompt_tokens + tokens}
        usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": tokens}]
    if plan.get("thoughts"):
        usage["thoughtsTokenCount"] = 150
    content = {"parts": parts, "role": "model"}
    whole = {
        "candidates": [{"content": content, "finishReason": plan["finishReason"], "index": 0}],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": "fake",
    }
    if plan.get("usage") is False:
        del whole["usageMetadata"]
    return whole


def _picture_parts(image: bytes, plan: dict[str, Any]) -> list[dict[str, Any]]:
    def part(data: bytes, **more: Any) -> dict[str, Any]:
        encoded = base64.b64encode(data).decode()
        return {"inlineData": {"mimeType": "image/png", "data": encoded}, **more}

    if not plan.get("thoughts"):
        return [part(image)]
    draft = image[:-1] + bytes([image[-1] ^ 1])
    return [{"text": "Let me see.", "thought": True}, part(draft, thought=True), part(image)]


def broken_reply(fault: Fault, whole: bytes, image: bytes) -> Reply:
    """The reply of a fault that breaks a good answer on its way."""
    encoded = base64.b64encode(image)
    short = base64.b64encode(image[: len(image) * 2 // 3])
    replies = {
        "drop": Reply(drop=True),
        "drop_midway": Reply(body=whole, cut=0.5),
        "truncated_json": Reply(body=whole[: len(whole) // 2]),
        "html": Reply(body=b"<html>We will be back.</html>", content_type="text/html"),
        "not_an_object": Reply(body=b'["not", "an", "object"]'),
        "bad_base64": Reply(body=whole.replace(encoded, b"!!not base64!!")),
        "truncated_image": Reply(body=whole.replace(encoded, short)),
    }
    return replies.get(fault.kind, Reply(body=whole))
