"""`ComfyUIProvider`: one attempt at one image on the owner's own server."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from io import BytesIO

from PIL import Image

from imagemill.artifact import digest_of
from imagemill.decode import decoded
from imagemill.errors import ArtifactError, ProviderUnavailable, UnsupportedRequest
from imagemill.providers.base import Capabilities, GeneratedImage
from imagemill.providers.comfyui import failure
from imagemill.providers.comfyui.client import Ended, Server
from imagemill.providers.comfyui.line import checked_url, opened
from imagemill.providers.comfyui.patience import Patience
from imagemill.providers.comfyui.sizes import RATIOS, native_size, pixel_size, sizes_for
from imagemill.providers.comfyui.workflow import Fill, Workflow
from imagemill.request import Facts, ImageRequest

PROMPT_LIMIT_CHARS = 8_000
"""About 25 chunks of 75 tokens, which ComfyUI joins; longer words are no better understood."""


class ComfyUIProvider:
    """Runs a workflow on a ComfyUI server, with our words, seed and size in it. Costs nothing.

    It counts as *embedded* ("on this machine, bills nothing") though the server may be another
    machine of the owner's: an attempt whose process died may simply be repeated. The prompt id is
    ours, so a lost answer is looked for before it counts as lost, and a picture drawn twice costs
    nobody money. One attempt sends one prompt; only a later attempt sends another.

    Args:
        workflow: Loaded and checked.
        base_url: Of the server; "" is 127.0.0.1:8188.
        patience: How long is waited for what.
    """

    name = "comfyui"

    def __init__(
        self, workflow: Workflow, *, base_url: str = "", patience: Patience | None = None
    ) -> None:
        self.base_url = checked_url(base_url)
        self._workflow = workflow
        self._patience = patience or Patience()

    def capabilities(self, model: str = "") -> Capabilities:
        """Return what the workflow can do. Its name with or without the digest is taken, and "".

        Raises:
            UnsupportedRequest: another name; the digest changes with the workflow.
        """
        workflow = self._workflow
        if model not in ("", workflow.model, workflow.plain):
            raise UnsupportedRequest(
                f"This ComfyUI draws with {workflow.model}; got {model[:60]!r}.",
                remedy="Leave the model empty: the workflow of the block or of "
                "IMAGEMILL_COMFYUI_WORKFLOW decides it.",
            )
        size = native_size(*workflow.size_px) if workflow.size_px else "1K"
        sizes = sizes_for(size) if workflow.size_px else (size,)
        return Capabilities(
            provider=self.name, model=workflow.model, sizes=dict.fromkeys(sizes, Decimal(0)),
            default_size=size, aspect_ratios=tuple(RATIOS) if workflow.size_px else ("1:1",),
            prompt_limit_chars=PROMPT_LIMIT_CHARS, seed=True,
            negative_prompt=bool(workflow.slots.negative),
            reference_images=1 if workflow.slots.reference else 0, embedded=True,
            max_in_flight=1, timeout_s=self._patience.run_s + self._patience.queue_s,
        )  # fmt: skip

    async def check_configuration(self) -> None:
        """Make sure that the server is there and has the workflow's nodes and checkpoint.

        Raises:
            ProviderMisconfigured: it lacks one of them, or is no ComfyUI.
            ProviderUnavailable: it does not answer.
        """
        await self.version()

    async def version(self) -> str:
        """Return the server's version; checks and raises as `check_configuration`."""
        async with self._connected() as server:
            return await server.check()

    async def generate(
        self, request: ImageRequest, references: Sequence[bytes] = ()
    ) -> GeneratedImage:
        """Draw one image: one prompt on the server, cancelled there when it takes too long or we are.

        Raises:
            ProviderUnavailable: not reached, lost, interrupted or too late; may be asked again.
            ProviderMisconfigured: the server does not run this workflow.
            ProviderError: a node failed; names its class and the exception's type.
            UnsupportedRequest: outside the capabilities.
        """
        self.capabilities(request.model).check(request)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        async with self._connected() as server:
            fill = await self._fill(server, request, references, seed=seed)
            ended = await self._drawn(server, fill)
            data = await server.picture(ended)
        return GeneratedImage(
            data=await asyncio.to_thread(without_metadata, data), media_type="image/png",
            cost_usd=Decimal(0), model=self._workflow.model, seed=seed,
            facts=_facts(ended, asked_to_avoid=bool(request.negative_prompt), workflow=self._workflow),
        )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing to release: a connection lasts for one image."""

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Server]:
        async with opened(self.base_url) as line:
            yield Server(line, self._workflow, self._patience)

    async def _fill(
        self, server: Server, request: ImageRequest, references: Sequence[bytes], *, seed: int
    ) -> Fill:
        reference = ""
        for data in references[:1]:
            reference = await server.upload(data, name=f"{digest_of(data)[:16]}.png")
        own = self._workflow.size_px
        return Fill(
            positive=request.prompt, negative=request.negative_prompt, seed=seed,
            size=pixel_size(request.size, request.aspect_ratio, own=own) if own else None,
            prefix=f"imagemill/{request.key[:12]}-{uuid.uuid4().hex[:8]}", reference=reference,
        )  # fmt: skip

    async def _drawn(self, server: Server, fill: Fill) -> Ended:
        prompt_id = str(uuid.uuid4())
        try:
            prompt_id, sure = await server.submit(self._workflow.filled(fill), prompt_id)
            return await server.ended(prompt_id, sure=sure)
        except asyncio.CancelledError:
            await asyncio.shield(server.cancel(prompt_id))
            raise


def without_metadata(data: bytes) -> bytes:
    """Return a picture's pixels as a PNG with nothing else: ComfyUI writes the prompt into its files.

    Raises:
        ProviderUnavailable: broken on its way; what was drawn is cached there, so again is quick.
    """
    try:
        whole = decoded(data)
    except ArtifactError:
        whole = None
    if whole is None:
        raise ProviderUnavailable("ComfyUI's picture came broken.", remedy="It is tried again.")
    with Image.open(BytesIO(data)) as image:
        plain = image.convert("RGBA" if whole.alpha else "RGB")
    plain.info = {}
    out = BytesIO()
    plain.save(out, "PNG")
    return out.getvalue()


def _facts(ended: Ended, *, asked_to_avoid: bool, workflow: Workflow) -> Facts:
    """Return what the manifest notes: how long the server ran, how much it had cached."""
    facts: Facts = {}
    times = [data.get("timestamp") for _, data in failure.messages(ended.status)]
    if len(times) > 1 and type(times[0]) is type(times[-1]) is int:
        facts["run_s"] = round((times[-1] - times[0]) / 1000, 3)
    cached = dict(failure.messages(ended.status)).get("execution_cached", {}).get("nodes")
    if isinstance(cached, list):
        facts["cached_nodes"] = len(cached)
    if asked_to_avoid and not workflow.slots.negative:
        facts["negative_prompt"] = "not used: the workflow has no text for it"
    return facts
