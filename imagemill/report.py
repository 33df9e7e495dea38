"""A batch in words and figures: the summary, the table, the manifest. Pure functions, no prompts.

The summary and the table are for Prefect's UI, where many people look: they name images by number, from 1.
Only the manifest holds prompts; it is stored next to the images and never logged.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from imagemill.credits import drawer, drawers, drawers_label, shares_in_words
from imagemill.request import BatchResult, ImageRequest, ImageResult

MANIFEST_VERSION = 1

REMEDY_BY_CLASS = {
    "ambiguous": "The answer was lost and may have been billed. Look at the provider's bill, then "
    "run again with `resend_ambiguous` to ask anew.",
    "artifact": "The bytes were missing or broken. Run again; what is whole is reused.",
    "blocked": "The provider's filter refused. Change the prompt, or choose a looser `safety`.",
    "budget": "The budget was reached. Raise it and run again; what is made is reused.",
    "gpu_lost": "The GPU gave the process up. Run again; what is drawn is reused.",
    "held": "Another run is paying for the same image. Run again in a moment.",
    "judge": "The picture was made and not judged. Look at it, or run again; what is made is reused.",
    "ledger": "The ledger refused. Look at its database, then run again.",
    "misconfigured": "Key, endpoint or model was refused. Mend the provider block first.",
    "no_image": "The provider answered without a picture. Say in the prompt what is to be seen.",
    "provider": "The provider did not deliver. Run again later; what is made is reused.",
    "quota": "A quota is used up. Run again after it resets, or have it raised.",
    "rate_limited": "The provider asked to slow down. Lower `max_concurrent` and run again.",
    "request": "The request itself is wrong. Change it; sending it again would fail alike.",
    "stopped": "The run was stopped before this image was sent. The same batch again finishes it.",
    "store": "The object store refused. The images are safe in the spool; mend it and run again.",
    "store_misconfigured": "Key, secret or bucket was refused. Mend the store block, run again.",
    "store_unavailable": "The object store was away. Run again; nothing is paid twice.",
    "unavailable": "The provider was away and billed nothing. Run again later.",
    "url_refused": "The address may not be connected to. Give a public https address.",
    "unsupported": "The model cannot do this. Choose another size, ratio or model.",
}
"""What to do next, by `ImagemillError.error_class`."""

_OTHER_REMEDY = "Open the run's log for this image; run again when it is mended."
_NOT_STARTED_REMEDY = "Nothing was sent and nothing was billed. Run again; what was made in the last 15 minutes is reused."

_TYPOGRAPHIC = str.maketrans({"–": "-", "—": "-", "“": '"', "”": '"', "„": '"', "×": "x",
                              "’": "'", "‘": "'", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae",
                              "ł": "l", "\u00a0": " "})  # fmt: skip
_SAFE_SIGNS = {"·", "…"}
_MARKDOWN_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#!|~"})
_URL_SIGNS = str.maketrans({sign: f"%{ord(sign):02X}" for sign in " ()<>\"'\\`|\n\r\t"})


def escaped(text: str) -> str:
    """Return `text` so that Markdown shows its signs instead of obeying them."""
    return text.translate(_MARKDOWN_SIGNS)


def latin(text: str) -> str:
    """Return `text` in the letters the contact sheet's font has, accents dropped; "" if words would go.

    Signs the font lacks (emoji, ornaments) are dropped; one letter it lacks empties the text,
    because half a sentence says something else.
    """
    kept = []
    for sign in unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHIC)):
        if (sign.isascii() and sign.isprintable()) or sign in _SAFE_SIGNS:
            kept.append(sign)
        elif sign.isspace():
            kept.append(" ")
        elif sign.isalnum():
            return ""
    return " ".join("".join(kept).split())


def money(amount_usd: Decimal) -> str:
    """Return an amount in USD: two decimals from a dollar on, up to four below: `$0.0387`."""
    if 0 < amount_usd < Decimal("0.0001"):
        return "<$0.0001"
    if amount_usd >= 1:
        return f"${amount_usd.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"
    whole, cents = f"{amount_usd.quantize(Decimal('0.0001'), ROUND_HALF_UP):,.4f}".split(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: `4.2 s`, `1 min 42 s`, `2 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def image_count(number: int) -> str:
    """Return `1 image` or `1,200 images`."""
    return f"{number:,} image{'' if number == 1 else 's'}"


def counts_in_words(results: Sequence[ImageResult]) -> str:
    """Return `24 of 30 images  ·  3 reused  ·  3 failed`; what there is none of is left out."""
    words = [f"{sum(r.success for r in results):,} of {image_count(len(results))}"]
    for name in ("reused", "failed", "ambiguous", "not_started"):
        number = sum(r.status == name for r in results)
        if number:
            words.append(f"{number:,} {name.replace('_', ' ')}")
    return "  ·  ".join(words)


def costs_in_words(results: Sequence[ImageResult], spent_usd: Decimal | None = None) -> str:
    """Return `$0.94 spent  ·  $0.12 saved`; `spent_usd`, when known, goes before a sum."""
    added = sum((r.cost_usd for r in results if not r.reused), Decimal(0))
    spent = added if spent_usd is None else spent_usd
    saved = sum((r.cost_usd for r in results if r.reused), Decimal(0))
    return f"{money(spent)} spent" + (f"  ·  {money(saved)} saved" if saved else "")


def class_in_words(result: ImageResult) -> str:
    """Return why there is no image: `blocked`, `not started (budget)`; "" when there is one."""
    if result.success:
        return ""
    why = (result.error_class or "").replace("_", " ")
    if result.status == "not_started":
        return f"not started ({why})" if why else "not started"
    return "ambiguous" if result.status == "ambiguous" else why or "failed"


def _remedy(result: ImageResult) -> str:
    if result.status == "ambiguous":
        return REMEDY_BY_CLASS["ambiguous"]
    known = REMEDY_BY_CLASS.get(result.error_class or "")
    return known or (_NOT_STARTED_REMEDY if result.status == "not_started" else _OTHER_REMEDY)


def ambiguous_usd(results: Iterable[ImageResult]) -> Decimal:
    """Return the reserved price of the images that may or may not have been billed, in USD."""
    return sum((r.cost_usd for r in results if r.status == "ambiguous"), Decimal(0))


def _ranges(numbers: Sequence[int], *, at_most: int = 12) -> str:
    """Return `3, 7-9, 12`, and `…` after `at_most` pieces."""
    pieces: list[list[int]] = []
    for number in sorted(numbers):
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1] = [pieces[-1][0], number]
        else:
            pieces.append([number])
    words = ["–".join(str(n) for n in piece) for piece in pieces[:at_most]]
    return ", ".join(words) + (", …" if len(pieces) > at_most else "")


def _failure_lines(results: Iterable[ImageResult]) -> list[str]:
    groups: dict[tuple[str, str], list[int]] = {}
    for result in results:
        if not result.success:
            group = (class_in_words(result), _remedy(result))
            groups.setdefault(group, []).append(result.index + 1)
    if not groups:
        return []
    lines = ["", "## Not made", "", "| Why | Images | Image | What to do |", "|:--|--:|:--|:--|"]
    for (what, remedy), found in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines.append(
            f"| {what.translate(_MARKDOWN_SIGNS)} | {len(found):,} | {_ranges(found)} | {remedy} |"
        )
    return lines


def _money_lines(result: BatchResult) -> list[str]:
    unsure = ambiguous_usd(result.results)
    rows = [("Spent in this run", money(result.cost_usd))]
    if result.ambiguous_count:
        rows.append(
            (f"of it perhaps not billed ({image_count(result.ambiguous_count)})", money(unsure))
        )
    if result.reused_count:
        rows.append((f"Saved by reuse ({image_count(result.reused_count)})",
                     money(result.saved_usd)))  # fmt: skip
    return ["", "| Money | USD |", "|:--|--:|", *(f"| {what} | {usd} |" for what, usd in rows)]


def _facts_line(result: BatchResult) -> str:
    facts = [
        drawers_label(result).translate(_MARKDOWN_SIGNS),
        shares_in_words(drawers(result.results)).translate(_MARKDOWN_SIGNS),
        duration(result.seconds),
    ]
    if result.retried_count:
        facts.append(f"{image_count(result.retried_count)} needed more than one attempt")
    return " · ".join(fact for fact in facts if fact)


def markdown_summary(
    result: BatchResult,
    *,
    contact_sheet_url: str | None = None,
    gallery_url: str | None = None,
    manifest_url: str | None = None,
) -> str:
    """Return the batch as Markdown: picture, totals, money, failures with their remedies.

    Holds no prompt and no error message. A URL that is None leaves its link out.
    """
    style = result.style_name.translate(_MARKDOWN_SIGNS)
    counted = f"{result.success_count:,} of {image_count(result.total)}"
    lines = [f"# {counted}{f' · {style}' if style else ''}", "", _facts_line(result)]
    links = (("Open the gallery", gallery_url), ("Manifest", manifest_url))
    shown = [f"[{word}]({url.translate(_URL_SIGNS)})" for word, url in links if url]
    if shown:
        lines += ["", " · ".join(shown)]
    if contact_sheet_url:
        lines += ["", f"![Contact sheet]({contact_sheet_url.translate(_URL_SIGNS)})"]
    lines += _money_lines(result)
    lines += _failure_lines(result.results)
    return "\n".join(lines) + "\n"


def table_rows(result: BatchResult) -> list[dict[str, Any]]:
    """Return one row per image, in input order, for a table artifact. No prompts, JSON-able.

    When more than one provider drew, each row says who.
    """
    mixed = len(set(drawers(result.results))) > 1
    return [
        {
            "image": image.index + 1,
            "status": image.status.replace("_", " "),
            **({"drawn by": drawer(image)} if mixed else {}),
            "cost": f"{'saved ' if image.reused and image.cost_usd else ''}{money(image.cost_usd)}",
            "seconds": round(image.seconds, 1) if math.isfinite(image.seconds) else None,
            "attempts": image.attempts,
            "error": class_in_words(image),
            # Last: Prefect's table shows the address in full.
            "link": f"[open]({image.url.translate(_URL_SIGNS)})" if image.url else "",
        }
        for image in result.results
    ]


def _manifest_entry(image: ImageResult, request: ImageRequest | None) -> dict[str, Any]:
    kept = image.model_dump(
        mode="json",
        include={"index", "status", "key", "sha256", "media_type", "width_px", "height_px",
                 "size_bytes", "seed", "sample", "cost_usd", "seconds", "attempts", "url",
                 "error_class", "facts"},
    )  # fmt: skip
    return {
        **kept,
        "provider": image.provider or (request.provider if request else None),
        "model": image.model or (request.model if request else None),
        "request": request.model_dump(mode="json") if request else None,
    }


def manifest(result: BatchResult, requests: Iterable[ImageRequest]) -> dict[str, Any]:
    """Return how every image of the batch came to be, ready for `manifest.json`.

    Args:
        result: The batch as it ended.
        requests: The requests sent, in any order; matched to the images by their key. An image
            whose request never took shape has `"request": null`.

    Returns:
        JSON-able; money as decimal strings. `seed` of an image is the one it was made with, which
        a provider may have chosen; the asked one is in `request`. Holds prompts, no local paths.
    """
    by_key = {request.key: request for request in requests}
    batch = result.model_dump(
        mode="json",
        include={"run_id", "provider", "model", "style_name", "total", "success_count",
                 "failure_count", "reused_count", "ambiguous_count", "cost_usd", "saved_usd",
                 "seconds"},
    )  # fmt: skip
    images = [_manifest_entry(image, by_key.get(image.key)) for image in result.results]
    return {"version": MANIFEST_VERSION, **batch, "images": images}
