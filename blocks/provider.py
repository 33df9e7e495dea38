"""Providers as blocks: forms that an operator fills in and that build the ground floor's parts."""

from typing import TYPE_CHECKING

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.comfyui import ComfyUI
from blocks.local_sdxl import LocalSDXL
from blocks.saved import no_such_block, saved_block
from blocks.settings import Settings
from imagemill.providers import split_name
from imagemill.providers.base import ImageProvider

if TYPE_CHECKING:
    from imagemill.providers.gemini import GeminiWords


class Gemini(Block):
    """Google's hosted image models, by API key or through Vertex AI."""

    _block_type_name = "Gemini"
    _block_type_slug = "gemini"
    _description = "Google's image models: key or Vertex AI project, default model, time-out."

    api_key: SecretStr = Field(
        default=SecretStr(""),
        title="API key",
        description="A key from Google AI Studio; empty when Vertex AI is used.",
    )
    base_url: str = Field(
        default="", title="Base URL", description="A gateway of your own; empty for Google's."
    )
    vertexai: bool = Field(
        default=False, title="Vertex AI", description="Use a Google Cloud project, not a key."
    )
    project: str = Field(default="", title="Project", description="Google Cloud project id.")
    location: str = Field(default="", title="Location", description="Google Cloud location.")
    default_model: str = Field(
        default="", title="Default model", description="Empty for the catalog's own default."
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        title="Time-out (s)",
        description="Longest wait for one answer; empty for the model's own from the catalog.",
    )

    def build(self, settings: Settings) -> ImageProvider:
        """Return the provider; google-genai is imported at its first request."""
        from imagemill.catalog import load_catalog
        from imagemill.providers.gemini import GeminiProvider

        catalog = load_catalog(settings.catalog_file)
        return GeminiProvider(
            api_key=self.api_key.get_secret_value(),
            base_url=self.base_url,
            vertexai=self.vertexai,
            project=self.project,
            location=self.location,
            timeout_s=self.timeout_s,
            catalog=catalog,
            default_model=self.default_model or catalog.named("gemini")[0],
        )

    def words(self, settings: Settings, model: str = "") -> "GeminiWords":
        """Return a text model by the same key, with the images' address; "" is the default one.

        Raises:
            UnsupportedRequest: no such text model.
        """
        from imagemill.catalog import load_catalog
        from imagemill.providers.gemini import Endpoint, GeminiWords
        from imagemill.providers.gemini.words import DEFAULT_TEXT_MODEL

        endpoint = Endpoint(
            api_key=self.api_key.get_secret_value(), base_url=self.base_url,
            vertexai=self.vertexai, project=self.project, location=self.location,
        )  # fmt: skip
        catalog = load_catalog(settings.catalog_file)
        return GeminiWords(endpoint, model=model or DEFAULT_TEXT_MODEL, catalog=catalog)

    @property
    def has_key(self) -> bool:
        """Whether somebody could be asked with what is configured."""
        return bool(self.api_key.get_secret_value().strip() or (self.vertexai and self.project))

    @classmethod
    def from_settings(cls, settings: Settings) -> "Gemini":
        """Build from GOOGLE_API_KEY or GEMINI_API_KEY and GOOGLE_GEMINI_BASE_URL."""
        key = (
            settings.google_api_key.get_secret_value() or settings.gemini_api_key.get_secret_value()
        )
        return cls(api_key=SecretStr(key), base_url=settings.google_gemini_base_url)


class Sketch(Block):
    """The embedded procedural drawer, for trying and testing. It draws; it does not diffuse."""

    _block_type_name = "Sketch"
    _block_type_slug = "sketch"
    _description = "Embedded procedural drawings: no key, no GPU, no cost. For trying and testing."

    latency_s: float = Field(
        default=0.0, ge=0, le=60, title="Latency (s)", description="Pretend to take this long."
    )
    unavailable_once: list[str] = Field(
        default_factory=list,
        title="Unavailable once",
        description="Prompt digests (12 hex digits) whose first attempt fails with a 503.",
    )
    rate_limited_once: list[str] = Field(
        default_factory=list,
        title="Rate limited once",
        description="Prompt digests whose first attempt fails with a 429.",
    )
    blocked: list[str] = Field(
        default_factory=list,
        title="Blocked",
        description="Prompt digests that the pretended content filter refuses.",
    )

    def build(self, settings: Settings) -> ImageProvider:
        """Return the provider."""
        from imagemill.providers.sketch import SketchFaults, SketchProvider

        faults = SketchFaults(
            unavailable_once=frozenset(self.unavailable_once),
            rate_limited_once=frozenset(self.rate_limited_once),
            blocked=frozenset(self.blocked),
        )
        return SketchProvider(latency_s=self.latency_s, faults=faults)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Sketch":
        """Build the plain one."""
        return cls()


PROVIDER_BLOCKS: dict[str, type[ComfyUI | Gemini | LocalSDXL | Sketch]] = {
    "gemini": Gemini, "comfyui": ComfyUI, "sdxl": LocalSDXL, "sketch": Sketch,
}  # fmt: skip


async def gemini_block(name: str, settings: Settings) -> Gemini:
    """Return the Gemini block of a name, or the one that the environment makes.

    Raises:
        RequestError: nobody saved a block of that name.
    """
    block = await saved_block(Gemini, name)
    if block is None and name != "default":
        raise no_such_block("gemini", name)
    return block or Gemini.from_settings(settings)


async def load_provider(name: str, settings: Settings) -> ImageProvider:
    """Return the provider for `"gemini"`, `"gemini/default"` or `"gemini/NAME"`.

    Raises:
        RequestError: no such kind, or nobody saved a block of that name.
    """
    slug, block_name = split_name(name)
    kind = PROVIDER_BLOCKS[slug]
    block = await saved_block(kind, block_name)
    if block is None and block_name != "default":
        raise no_such_block(slug, block_name)
    return (block or kind.from_settings(settings)).build(settings)
