"""`OpenAIWords`: POST {base_url}/chat/completions through httpx; nothing is resent.

Servers echo prompts in their errors, so nothing of an answer but its status reaches an exception.
"""

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from imagemill.artifact import text_digest
from imagemill.catalog import MILLION
from imagemill.cost import Usage
from imagemill.decode import decoded
from imagemill.errors import (
    AnswerLost,
    ContentBlocked,
    ImagemillError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    UnsupportedRequest,
)
from imagemill.words import Written

MAX_ANSWER_TOKENS = 2_000

SHAPE_TOKENS, PICTURE_TOKENS = 4_000, 3_000
"""Allowances for the schema and for one picture, above what hosted models count for either."""

_SECONDS = re.compile(r"\d{1,6}(?:\.\d{1,6})?")
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NOT_AN_ADDRESS = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Spent(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0


class _Answer(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Spent | None = None


class OpenAIWords:
    """One text model at an address. It knows no environment; a block passes values in.

    Args:
        base_url: Up to and with the version, e.g. `http://127.0.0.1:11434/v1`.
        model: As the server calls it.
        api_key: Sent as a bearer token; a local server needs none.
        timeout_s: Longest wait for one answer.
        usd_per_million: Price of input and output tokens; a local model costs nothing.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        timeout_s: float = 60.0,
        usd_per_million: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0)),
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.timeout_s = timeout_s
        self.usd_per_million = usd_per_million
        self._api_key = SecretStr(api_key.strip())

    @property
    def name(self) -> str:
        """The model, as its server calls it."""
        return self.model

    def worst_case_usd(self, prompt: str, *, pictures: int = 0) -> Decimal:
        """Return the most one question can bill: a token per byte, a full answer."""
        asked = len(prompt.encode()) + SHAPE_TOKENS + pictures * PICTURE_TOKENS
        return self._bill(_Spent(prompt_tokens=asked, completion_tokens=MAX_ANSWER_TOKENS))

    async def write(
        self, prompt: str, *, pictures: Sequence[bytes] = (), schema: type[BaseModel] | None = None
    ) -> Written:
        """Ask once; see `imagemill.words.Words`."""
        digest = text_digest(prompt)
        body = await asyncio.to_thread(self._body, prompt, pictures, schema)
        worst_usd = self.worst_case_usd(prompt, pictures=len(pictures))
        key = self._api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        failure: ImagemillError
        try:
            async with httpx.AsyncClient(timeout=self.timeout_s, trust_env=False) as client:
                reply = await client.post(
                    f"{self.base_url}/chat/completions", json=body, headers=headers
                )
        # Whatever httpx raises after sending may have been billed: nothing may slip through.
        except Exception as error:
            failure = _translated(error, self.model, digest)
        else:
            return self._read(reply, digest=digest, worst_usd=worst_usd)
        if isinstance(failure, AnswerLost):
            failure.cost_usd = worst_usd
        # Raised outside the handler: httpx's exceptions carry the request.
        raise failure

    async def aclose(self) -> None:
        """Close nothing: each question has a connection of its own."""

    def _body(
        self, prompt: str, pictures: Sequence[bytes], schema: type[BaseModel] | None
    ) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        for data in pictures:
            encoded = base64.b64encode(data).decode()
            url = f"data:{decoded(data).media_type};base64,{encoded}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content if pictures else prompt}],
            "max_tokens": MAX_ANSWER_TOKENS,
        }
        if schema:  # the form that most compatible servers know; the question shows the shape
            body["response_format"] = {"type": "json_object"}
            shape = json.dumps(schema.model_json_schema(), ensure_ascii=False)
            body["messages"].insert(
                0, {"role": "system", "content": f"Answer with JSON of this schema: {shape}"}
            )
        return body

    def _bill(self, spent: _Spent) -> Decimal:
        in_usd, out_usd = self.usd_per_million
        return (spent.prompt_tokens * in_usd + spent.completion_tokens * out_usd) / MILLION

    def _read(self, reply: httpx.Response, *, digest: str, worst_usd: Decimal) -> Written:
        if reply.status_code != 200:
            raise _refused(reply, self.model, digest)
        answer = _parsed(reply.content)
        if answer is None:
            raise AnswerLost(
                f"The answer of {self.model} to prompt {digest} is not a chat completion.",
                remedy="Check that base_url ends where /chat/completions begins.",
                cost_usd=worst_usd,
            )
        cost_usd = self._bill(answer.usage) if answer.usage else worst_usd
        spent = answer.usage or _Spent()
        choice = answer.choices[0]
        if choice.finish_reason == "content_filter" or choice.message.refusal:
            raise ContentBlocked(
                f"{self.model} refused prompt {digest}.",
                remedy="Change the words; sending them again changes nothing.",
                reason="CONTENT_FILTER",
                cost_usd=cost_usd,
            )
        text = (choice.message.content or "").strip()
        return Written(
            text=text,
            whole=bool(text) and choice.finish_reason in {"stop", None},
            finish_reason="STOP" if choice.finish_reason in {"stop", None} else "CUT",
            cost_usd=cost_usd,
            usage=Usage(prompt_tokens=spent.prompt_tokens, text_tokens=spent.completion_tokens),
            model=self.model,
        )


def _parsed(body: bytes) -> _Answer | None:
    try:
        return _Answer.model_validate_json(body)
    except ValidationError:
        return None


def _translated(error: Exception, model: str, digest: str) -> ImagemillError:
    kind = type(error).__name__
    if isinstance(error, _NOT_SENT):
        return ProviderUnavailable(
            f"{model} could not be reached ({kind}); nothing was sent.",
            remedy="Check the network and the base_url; it is tried again.",
        )
    if isinstance(error, _NOT_AN_ADDRESS):
        return ProviderMisconfigured(
            f"The address or key of {model} cannot be put into a request ({kind}).",
            remedy="Check base_url and api_key.",
        )
    return AnswerLost(
        f"The answer of {model} to prompt {digest} did not come back whole ({kind}).",
        remedy="Ask again; it may have been billed.",
    )


def _refused(reply: httpx.Response, model: str, digest: str) -> ImagemillError:
    code = reply.status_code
    if code == 429:
        header = reply.headers.get("retry-after", "").strip()
        return RateLimited(
            f"{model} asks to slow down.",
            remedy="It is tried again after a pause.",
            retry_after_s=float(header) if _SECONDS.fullmatch(header) else None,
        )
    if code == 408 or code >= 500:
        return ProviderUnavailable(
            f"{model} is away ({code}).", remedy="It is tried again; look at the server."
        )
    if code in {400, 413, 422}:
        return UnsupportedRequest(
            f"{model} refuses prompt {digest} as invalid ({code}).",
            remedy="Shorten the words, or choose a model that answers in JSON.",
        )
    return ProviderMisconfigured(
        f"{model} refuses the key, the address or the name of the model ({code}).",
        remedy="Check base_url, api_key and model.",
    )
