"""What came back with HTTP 200: a picture, a refusal, or neither. All three are billed."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from imagemill.catalog import CatalogModel
from imagemill.cost import Usage, bill
from imagemill.errors import AnswerLost, ContentBlocked, NoImage
from imagemill.providers.base import GeneratedImage
from imagemill.request import ImageRequest

if TYPE_CHECKING:
    from google.genai import types

BLOCKING = frozenset({
    "SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "RECITATION",
    "IMAGE_RECITATION", "BLOCKLIST", "SPII", "LANGUAGE", "MODEL_ARMOR", "ESCALATION",
    "PUP_LIMITED_DISABLED",
})  # fmt: skip
"""Finish reasons that the same prompt meets again (google-genai 3.4.0 `FinishReason`)."""


def picture(
    response: "types.GenerateContentResponse", *, request: ImageRequest, model: CatalogModel
) -> GeneratedImage:
    """Return the picture of a generate_content answer.

    Raises:
        ContentBlocked: a filter refused the prompt or the picture; `reason` is Google's word.
        AnswerLost: JSON that is no answer, as gateways send.
        NoImage: an answer without a picture; asking again may help.
    """
    usage = usage_of(response)
    spent_usd = bill(usage, model)
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        raise _blocked(word(feedback.block_reason), request, spent_usd)
    candidate = next(iter(response.candidates or ()), None)
    if candidate is None and response.usage_metadata is None:
        raise AnswerLost(
            f"The answer to prompt {request.prompt_digest} is not one of {model.provider}'s; the "
            "request may have been billed.",
            remedy="Look at what stands between here and Google, and at the bill.",
        )
    reason = word(candidate.finish_reason) if candidate else "EMPTY"
    if reason in BLOCKING:
        raise _blocked(reason, request, spent_usd)
    blob = _first_picture((candidate and candidate.content and candidate.content.parts) or ())
    if blob is None or not blob.data:
        raise NoImage(
            f"{model.provider}/{model.name} answered prompt {request.prompt_digest} without an "
            f"image (finish reason {reason}).",
            remedy="Ask again; if it stays so, say in the prompt what the picture shows.",
            cost_usd=spent_usd,
        )
    facts = {"finish_reason": reason, "model_version": response.model_version or ""}
    return GeneratedImage(
        data=blob.data,
        media_type=blob.mime_type or "image/png",
        cost_usd=bill(usage, model, size=request.size),
        model=model.name,
        seed=request.seed,
        facts={**facts, **(usage.model_dump() if usage else {})},
    )


def imagen_picture(
    response: "types.GenerateImagesResponse", *, request: ImageRequest, model: CatalogModel
) -> GeneratedImage:
    """Return the picture of a generate_images answer, at its flat price.

    Raises:
        ContentBlocked: the filter took the picture out, with or without saying so.
    """
    first = next(iter(response.generated_images or ()), None)
    image = first.image if first else None
    if image is None or not image.image_bytes:
        raise _blocked("RAI_FILTERED", request, Decimal(0))
    return GeneratedImage(
        data=image.image_bytes,
        media_type=image.mime_type or "image/png",
        cost_usd=bill(None, model, size=request.size),
        model=model.name,
        seed=request.seed,
    )


def usage_of(response: "types.GenerateContentResponse") -> Usage | None:
    """Return the tokens an answer reports, by kind; None when it reports none.

    Answer tokens without a modality are counted as words when the picture's are given, and as
    picture otherwise: the dearer reading.
    """
    meta = response.usage_metadata
    if meta is None:
        return None
    details = meta.candidates_tokens_details or ()
    total = meta.candidates_token_count or 0
    image = sum(d.token_count or 0 for d in details if word(d.modality) == "IMAGE")
    text = sum(d.token_count or 0 for d in details if word(d.modality) != "IMAGE")
    rest = max(0, total - image - text)
    usage = Usage(
        prompt_tokens=(meta.prompt_token_count or 0) + (meta.tool_use_prompt_token_count or 0),
        image_tokens=image if details else rest,
        text_tokens=text + rest if details else 0,
        thinking_tokens=meta.thoughts_token_count or 0,
    )
    return usage if usage != Usage() else None


def _first_picture(parts: "Iterable[types.Part]") -> "types.Blob | None":
    """Skip words and thoughts: some models send drafts of the picture as thoughts."""
    for part in parts:
        blob = part.inline_data
        if blob and not part.thought and (blob.mime_type or "").startswith("image/"):
            return blob
    return None


def word(value: object) -> str:
    """Return an enum value of Google's as a plain word, even one that is new."""
    found = str(getattr(value, "value", value) or "UNSPECIFIED")
    return found if re.fullmatch(r"[A-Z_]{1,60}", found) else "UNKNOWN"


def _blocked(reason: str, request: ImageRequest, cost_usd: Decimal) -> ContentBlocked:
    return ContentBlocked(
        f"Google's filter refused prompt {request.prompt_digest} ({reason}).",
        remedy="Change the prompt or the reference images; sending it again changes nothing.",
        reason=reason,
        cost_usd=cost_usd,
    )
