"""Text models that judge and refine, by name: forms for operators, and what `auto` means."""

import ipaddress
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.provider import gemini_block
from blocks.saved import no_such_block, saved_block
from blocks.settings import Settings
from imagemill.asking import Speaker
from imagemill.errors import ProviderMisconfigured, RequestError
from imagemill.pacing import Pacer, pacer_of
from imagemill.providers import split_name
from imagemill.words import PricedWords

AUTO, OPENAI, GEMINI = "auto", "openai", "gemini"
ALONE = {"judge": "pixels", "refiner": "rules", "router": "rules"}
"""What works without a model."""


class WordModel(Block):
    """A text model behind an OpenAI-compatible address: hosted, or on a machine of yours."""

    _block_type_name = "Word Model"
    _block_type_slug = "word-model"
    _description = "A text model at an OpenAI-compatible address, to judge and refine game assets."

    base_url: str = Field(
        title="Base URL", description="Up to the version, such as http://127.0.0.1:11434/v1."
    )
    model: str = Field(title="Model", description="As the server calls it; one with eyes to judge.")
    api_key: SecretStr = Field(
        default=SecretStr(""), title="API key", description="A local server needs none."
    )
    input_usd_per_million: Decimal | None = Field(
        default=None, ge=0, title="Input price",
        description="USD per million tokens; needed unless the address is on your own network.",
    )  # fmt: skip
    output_usd_per_million: Decimal | None = Field(
        default=None, ge=0, title="Output price", description="USD per million tokens."
    )
    timeout_s: float = Field(
        default=60.0, gt=0, title="Time-out (s)", description="Longest wait for one answer."
    )

    def words(self) -> PricedWords:
        """Return the model.

        Raises:
            RequestError: its price is not known, so no budget could hold.
        """
        from imagemill.providers.openai.words import OpenAIWords

        prices = (self.input_usd_per_million, self.output_usd_per_million)
        if None in prices and not is_near(self.base_url):
            raise RequestError(
                f"The prices of {self.model} are not known, so no budget could hold.",
                remedy="Give its input and output price in USD per million tokens; 0 is a price.",
            )
        return OpenAIWords(
            base_url=self.base_url, model=self.model, api_key=self.api_key.get_secret_value(),
            timeout_s=self.timeout_s,
            usd_per_million=(prices[0] or Decimal(0), prices[1] or Decimal(0)),
        )  # fmt: skip

    @classmethod
    def from_settings(cls, settings: Settings) -> "WordModel":
        """Build from IMAGEMILL_WORDS_BASE_URL, _MODEL, _API_KEY and the two prices."""
        return cls(
            base_url=settings.words_base_url, model=settings.words_model,
            api_key=settings.words_api_key,
            input_usd_per_million=settings.words_input_usd_per_million,
            output_usd_per_million=settings.words_output_usd_per_million,
        )  # fmt: skip


@dataclass
class OpenSpeaker:
    """A text model that this run may ask; see `imagemill.asking.Speaker`."""

    provider: str
    words: PricedWords
    pacer: Pacer
    dearness: Decimal = Decimal(1)


def is_near(base_url: str) -> bool:
    """Tell whether an address is this machine's or a private network's: nobody bills there."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".internal", ".localhost"))


async def load_speaker(
    name: str, settings: Settings, *, role: str, provider: str
) -> Speaker | None:
    """Return who judges or refines; None is nobody but pixels or rules.

    Args:
        name: `auto`, `pixels` (judge) or `rules` (refiner, router), `gemini` or `gemini/BLOCK`, each with
            `:MODEL` after it if not the default, `openai` or `openai/BLOCK`.
        settings: This machine's.
        role: `judge`, `refiner` or `router`.
        provider: Who draws: `auto` takes the same Gemini block.

    Raises:
        RequestError: no such name or block, or a model without a price.
        ProviderMisconfigured: Gemini was named and has no key.
    """
    asked, _, model = name.strip().partition(":")
    kind, _, block = asked.partition("/")
    if asked == ALONE[role]:
        return None
    if asked == AUTO:
        return await _auto(settings, provider)
    if kind == GEMINI:
        found = await gemini_block(block or "default", settings)
        words = found.words(settings, model)
        try:
            words.check()
        except ProviderMisconfigured as error:
            error.remedy = (
                f"Set GOOGLE_API_KEY (or GEMINI_API_KEY), or choose the {role} {ALONE[role]!r}, "
                "which needs none."
            )
            raise
        return _speaker(asked.removesuffix("/default"), words)
    if kind == OPENAI:
        return await _openai(block or "default", settings)
    raise RequestError(
        f"There is no {role} {asked[:60]!r}.",
        remedy=f"Choose {AUTO}, {ALONE[role]}, {GEMINI}[:MODEL], {OPENAI}, or KIND/NAME of a saved "
        "block.",
    )


async def _auto(settings: Settings, provider: str) -> Speaker | None:
    """Gemini where there is a key, the configured OpenAI-compatible model, or nobody."""
    kind, block = split_name(provider)
    gemini = await gemini_block(block if kind == GEMINI else "default", settings)
    if gemini.has_key:
        name = f"{GEMINI}/{block}" if kind == GEMINI and block != "default" else GEMINI
        return _speaker(name, gemini.words(settings))
    if settings.words_base_url and settings.words_model:
        return await _openai("default", settings)
    return None


async def _openai(block: str, settings: Settings) -> Speaker:
    saved = await saved_block(WordModel, block)
    if saved is None and block != "default":
        raise no_such_block("word-model", block)
    if saved is None and not (settings.words_base_url and settings.words_model):
        raise RequestError(
            "No OpenAI-compatible model is configured.",
            remedy="Set IMAGEMILL_WORDS_BASE_URL and IMAGEMILL_WORDS_MODEL, or save a Word Model "
            "block and name it: openai/NAME.",
        )
    words = (saved or WordModel.from_settings(settings)).words()
    return _speaker(OPENAI if block == "default" else f"{OPENAI}/{block}", words)


def _speaker(provider: str, words: PricedWords) -> Speaker:
    return OpenSpeaker(provider, words, pacer_of(provider, words.name, None))
