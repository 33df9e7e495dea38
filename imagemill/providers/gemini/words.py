"""`GeminiWords`: pictures and words in, words out. What judges, refiners and the style router ask.

Answers are billed by the tokens they report. What they mean is the asker's business.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import BaseModel

from imagemill.artifact import text_digest
from imagemill.catalog import MILLION, Catalog, load_catalog
from imagemill.cost import Usage, bill
from imagemill.errors import AnswerLost, ContentBlocked
from imagemill.providers.gemini import payload
from imagemill.providers.gemini.answer import BLOCKING, word
from imagemill.providers.gemini.connection import Endpoint
from imagemill.providers.gemini.line import Line
from imagemill.words import Written

if TYPE_CHECKING:
    from google.genai import types

DEFAULT_TEXT_MODEL = "gemini-3.8-flash"
"""Google's current small model with eyes (facts/genai.md, section 3, read 2026-11-21)."""

MAX_ANSWER_TOKENS = 2_000
"""A judgement of five criteria takes some 500; a cut answer is a failed one."""


class GeminiWords:
    """One text model of Google's. One HTTP request a question, never resent.

    Args:
        endpoint: Where and as whom.
        model: Of kind "text" in the catalog.
        timeout_s: Longest wait for one answer; None takes the model's own from the catalog.
        catalog: Prices and models; None is the shipped one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str = DEFAULT_TEXT_MODEL,
        timeout_s: float | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self.model = (catalog or load_catalog()).find(model, provider="gemini", kind="text")
        self.timeout_s = timeout_s or self.model.timeout_s
        self._line = Line(endpoint)

    @property
    def name(self) -> str:
        """The model's name in the catalog."""
        return self.model.name

    def worst_case_usd(self, prompt: str, *, pictures: int = 0) -> Decimal:
        """Return the most one question can bill: a token per byte, all thinking, a full answer."""
        asked = self.model.prompt_tokens + len(prompt.encode())
        asked += pictures * self.model.reference_tokens
        answered = self.model.thinking_tokens + MAX_ANSWER_TOKENS
        return (
            asked * self.model.input_usd_per_million + answered * self.model.text_usd_per_million
        ) / MILLION

    async def write(
        self, prompt: str, *, pictures: Sequence[bytes] = (), schema: type[BaseModel] | None = None
    ) -> Written:
        """Ask once.

        Args:
            prompt: The whole question.
            pictures: Encoded PNG, JPEG or WebP, sent after the words.
            schema: Asks for JSON of this shape; the answer is not validated here.

        Raises:
            ProviderError: or one of its family, or `ContentBlocked`; see `imagemill.words`.
        """
        from google.genai import types

        digest = text_digest(prompt)
        parts: list[types.PartUnion] = [types.Part.from_text(text=prompt)]
        parts += [
            types.Part.from_bytes(data=data, mime_type=payload.media_type(data, position))
            for position, data in enumerate(pictures, start=1)
        ]
        config = types.GenerateContentConfig(
            http_options=types.HttpOptions(timeout=int(self.timeout_s * 1000)),
            max_output_tokens=self.model.thinking_tokens + MAX_ANSWER_TOKENS,
            response_mime_type="application/json" if schema else None,
            response_schema=schema,
        )
        worst_usd = self.worst_case_usd(prompt, pictures=len(pictures))
        client = self._line.client()
        try:
            response = await self._line.guarded(
                lambda: client.aio.models.generate_content(
                    model=self.model.name, contents=list(parts), config=config
                ),
                model=self.model,
                timeout_s=self.timeout_s,
                prompt_digest=digest,
            )
        except AnswerLost as error:
            error.cost_usd = worst_usd
            raise
        return self._read(response, digest=digest, worst_usd=worst_usd)

    def check(self) -> None:
        """Refuse what no question could be sent with.

        Raises:
            ProviderMisconfigured: names the variable or block field to set.
        """
        self._line.endpoint.check()

    async def aclose(self) -> None:
        """Close this loop's connections."""
        await self._line.aclose()

    def _read(
        self, response: "types.GenerateContentResponse", *, digest: str, worst_usd: Decimal
    ) -> Written:
        usage = _usage(response)
        cost_usd = bill(usage, self.model) if usage else worst_usd
        feedback = response.prompt_feedback
        blocked = word(feedback.block_reason) if feedback and feedback.block_reason else ""
        candidate = next(iter(response.candidates or ()), None)
        reason = word(candidate.finish_reason) if candidate else "EMPTY"
        if blocked or reason in BLOCKING:
            raise ContentBlocked(
                f"Google's filter refused prompt {digest} or its answer ({blocked or reason}).",
                remedy="Change the words or the picture; sending them again changes nothing.",
                reason=blocked or reason,
                cost_usd=cost_usd,
            )
        parts = (candidate and candidate.content and candidate.content.parts) or ()
        text = "".join(part.text or "" for part in parts if not part.thought).strip()
        return Written(
            text=text,
            whole=bool(text) and reason == "STOP",
            finish_reason=reason,
            cost_usd=cost_usd,
            usage=usage or Usage(),
            model=self.model.name,
        )


def _usage(response: "types.GenerateContentResponse") -> Usage | None:
    """Return the tokens reported; what a text model answers is words, whatever its modality."""
    meta = response.usage_metadata
    if meta is None:
        return None
    usage = Usage(
        prompt_tokens=(meta.prompt_token_count or 0) + (meta.tool_use_prompt_token_count or 0),
        text_tokens=meta.candidates_token_count or 0,
        thinking_tokens=meta.thoughts_token_count or 0,
    )
    return usage if usage != Usage() else None
