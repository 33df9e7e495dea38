"""What a text model of the fake Gemini answers, whole or broken. Always 300 tokens in, 40 out."""

import json
from typing import Any

from tests.wire.faults import ANSWERS, Fault, broken_reply
from tests.wire.http_server import Reply

PROMPT_TOKENS, ANSWER_TOKENS, THINKING_TOKENS = 300, 40, 150


def text_reply(text: str, fault: Fault | None = None) -> Reply:
    """The reply with `text`; a fault blocks it, cuts it off, adds thinking or breaks the body."""
    whole = json.dumps(_answer(text, ANSWERS.get(fault.kind, {}) if fault else {})).encode()
    return broken_reply(fault, whole, b"") if fault else Reply(body=whole)


def _answer(text: str, plan: dict[str, Any]) -> dict[str, Any]:
    usage = {"promptTokenCount": PROMPT_TOKENS, "totalTokenCount": PROMPT_TOKENS}
    if "block" in plan:
        return {"promptFeedback": {"blockReason": plan["block"]}, "usageMetadata": usage}
    if "empty" in plan:
        return {"usageMetadata": usage}
    reason = plan.get("finishReason", "STOP")
    kept = text if reason == "STOP" else text[: len(text) // 2]
    parts = [{"text": kept}]
    usage |= {"candidatesTokenCount": ANSWER_TOKENS}
    if plan.get("thoughts"):
        parts.insert(0, {"text": "Let me see.", "thought": True})
        usage["thoughtsTokenCount"] = THINKING_TOKENS
    usage["totalTokenCount"] = sum(n for name, n in usage.items() if name != "totalTokenCount")
    content = {"parts": parts, "role": "model"}
    whole = {"candidates": [{"content": content, "finishReason": reason, "index": 0}]}
    return whole if plan.get("usage") is False else {**whole, "usageMetadata": usage}
