"""What the tests of the asset flow share: orders, a run of it, and the fake's own bill."""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

PRICES = {
    "gemini-nano-banana-2.1": (Decimal("1.5"), Decimal("7.5"), Decimal("30")),
    "gemini-3.8-flash": (Decimal("1.5"), Decimal("7.5"), Decimal("0")),
}
"""USD per million tokens in, words out, pictures out; written down apart from the catalog."""

GUIDE = {"artStyle": "hand_drawn", "mood": "cheerful"}


def asset(name: str = "sword", **changes: Any) -> dict[str, Any]:
    """One small asset that no other test ever asked for."""
    return {
        "id": name, "category": "sprite", "name": name, "size": {"width": 64, "height": 64},
        "description": f"a {name} of {uuid.uuid4().hex[:12]}", **changes,
    }  # fmt: skip


def make(requests: list[dict[str, Any]], *, state: bool = False, **fields: Any) -> Any:
    """Run the flow as a Python caller does; returns its result, or its state."""
    from flows.asset import generate_assets

    more = {"return_state": True} if state else {}
    fields = {"style_guide": GUIDE, **fields}
    return asyncio.run(generate_assets(requests=requests, **fields, **more))


def billed_by(fake: Any) -> Decimal:
    """What the fake Gemini bills for everything it answered, by its own count of tokens."""
    total = Decimal(0)
    for model, usage in fake.stats.used:
        price_in, price_words, price_picture = PRICES[model]
        pictures = sum(
            each["tokenCount"]
            for each in usage.get("candidatesTokensDetails", [])
            if each["modality"] == "IMAGE"
        )
        words = usage.get("candidatesTokenCount", 0) - pictures + usage.get("thoughtsTokenCount", 0)
        total += usage.get("promptTokenCount", 0) * price_in
        total += words * price_words + pictures * price_picture
    return total / 1_000_000


def charged(mill: Any) -> Decimal:
    """What the ledger of this test was charged, in USD."""
    ((nano,),) = mill.rows("SELECT coalesce(sum(amount_usd), 0) FROM charges")
    return Decimal(int(nano)) / 10**9


def scores(result: dict[str, Any]) -> list[float]:
    return [turn["score"] for turn in result["metadata"]["iteration_history"]]
