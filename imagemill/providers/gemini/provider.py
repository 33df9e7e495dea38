"""`GeminiProvider`: one attempt at one image. It knows no environment; a block passes values in."""

from collections.abc import Sequence

from imagemill.catalog import Catalog, CatalogModel, ModelCapabilities, load_catalog
from imagemill.errors import UnsupportedRequest
from imagemill.providers.base import GeneratedImage
from imagemill.providers.gemini import answer, payload
from imagemill.providers.gemini.connection import Endpoint
from imagemill.providers.gemini.line import Line
from imagemill.request import ImageRequest

DEFAULT_MODEL = "gemini-nano-banana-2.1"
"""Google's current image model, GA 2026-10-06 (changelog)."""

PREFLIGHT_TIMEOUT_S = 20.0


class GeminiProvider:
    """Makes images with Google's hosted models; see `catalog.toml` for which.

    One client per event loop is opened at first use and kept: opening costs 0.1 s, and a request
    on a kept one 4 ms. Neither the SDK nor HTTP resends anything.

    Args:
        api_key: Of the Developer API, or of Vertex express mode.
        base_url: A private gateway instead of Google; only there requests carry their key.
        vertexai: Use Vertex AI, with `project` and `location` and default credentials.
        timeout_s: Longest wait for one answer; None takes the model's own from the catalog.
        max_connections: Most requests in flight; at least the batch's concurrency.
    """

    name = "gemini"

    def __init__(  # noqa: PLR0913 - one per field of the block
        self,
        *,
        api_key: str = "",
        base_url: str = "",
        vertexai: bool = False,
        project: str = "",
        location: str = "",
        default_model: str = DEFAULT_MODEL,
        timeout_s: float | None = None,
        max_connections: int = 100,
        catalog: Catalog | None = None,
    ) -> None:
        self.default_model = default_model
        self.timeout_s = timeout_s
        self._endpoint = Endpoint(
            api_key=api_key,
            base_url=base_url,
            vertexai=vertexai,
            project=project,
            location=location,
            max_connections=max_connections,
        )
        self._catalog = catalog or load_catalog()
        self._line = Line(self._endpoint)

    def capabilities(self, model: str = "") -> ModelCapabilities:
        """Return what `model` can do; "" is the default model. Sends nothing.

        Raises:
            UnsupportedRequest: unknown, or not served through this door any more.
        """
        found = self._model(model)
        able = found.capabilities(max_in_flight=self._endpoint.max_connections)
        return able.model_copy(update={"timeout_s": self._timeout_s(found)})

    async def check_configuration(self) -> None:
        """Ask Google for the default model's card, which is free.

        Raises:
            ProviderMisconfigured: no key, a refused key or model.
            ProviderUnavailable: Google cannot be reached now.
        """
        model = self._model("")
        client = self._line.client()
        await self._line.guarded(
            lambda: client.aio.models.get(model=model.name),
            model=model,
            timeout_s=PREFLIGHT_TIMEOUT_S,
        )

    async def generate(
        self, request: ImageRequest, references: Sequence[bytes] = ()
    ) -> GeneratedImage:
        """Make one image: exactly one HTTP request, never resent.

        Args:
            request: Checked against `capabilities` by the caller.
            references: Encoded PNG, JPEG or WebP, in the order of `request.references`.

        Raises:
            ProviderError: or one of its family, `ContentBlocked` or `UnsupportedRequest`; each
                carries `cost_usd` where the answer says what it billed.
        """
        model = self._model(request.model)
        if model.method == "generate_images":
            return await self._imagen(request, model)
        timeout_s = self._timeout_s(model)
        http = payload.http_options(
            request, timeout_s=timeout_s, private_gateway=bool(self._endpoint.base_url)
        )
        parts = payload.contents(request, references)
        config = payload.content_config(request, model, http=http)
        client = self._line.client()
        response = await self._line.guarded(
            lambda: client.aio.models.generate_content(
                model=model.name, contents=parts, config=config
            ),
            model=model,
            timeout_s=timeout_s,
            prompt_digest=request.prompt_digest,
        )
        return answer.picture(response, request=request, model=model)

    async def aclose(self) -> None:
        """Close this loop's connections; those of other loops go with their loop."""
        await self._line.aclose()

    async def _imagen(self, request: ImageRequest, model: CatalogModel) -> GeneratedImage:
        timeout_s = self._timeout_s(model)
        http = payload.http_options(
            request, timeout_s=timeout_s, private_gateway=bool(self._endpoint.base_url)
        )
        config = payload.imagen_config(request, model, http=http)
        client = self._line.client()
        response = await self._line.guarded(
            lambda: client.aio.models.generate_images(
                model=model.name, prompt=request.prompt, config=config
            ),
            model=model,
            timeout_s=timeout_s,
            prompt_digest=request.prompt_digest,
        )
        return answer.imagen_picture(response, request=request, model=model)

    def _timeout_s(self, model: CatalogModel) -> float:
        return self.timeout_s or model.timeout_s

    def _model(self, name: str) -> CatalogModel:
        model = self._catalog.find(name or self.default_model, provider=self.name)
        door = "vertex" if self._endpoint.vertexai else "developer"
        if door not in model.served_by:
            raise UnsupportedRequest(
                f"{self.name}/{model.name} was shut down on {model.retires_on} and is not served "
                "with an API key.",
                remedy=f"Use {model.successor}.",
            )
        return model
