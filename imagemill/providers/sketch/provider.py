"""The provider at hand: draws at once, on this machine, for nothing."""

import asyncio
import hashlib
import io
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict

from imagemill.bounds import ASPECT_RATIOS
from imagemill.errors import (
    ContentBlocked,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    UnsupportedRequest,
)  # fmt: skip
from imagemill.prompt import Style, find_style
from imagemill.providers.base import Capabilities, GeneratedImage
from imagemill.providers.sketch.colour import parse
from imagemill.providers.sketch.compose import compose
from imagemill.providers.sketch.sprite import draw_sprite, sprite_brief
from imagemill.providers.sketch.stage import Stage
from imagemill.providers.sketch.techniques import TECHNIQUES
from imagemill.providers.sketch.techniques.plain import flat
from imagemill.providers.sketch.words import understand
from imagemill.request import ImageRequest

MODEL = "sketch-1"
SIDES_PX = {"256": 256, "512": 512, "1K": 1024, "2K": 2048}
"""Side of the square of the same area, by size name."""
_PLAIN = Style(name="plain", description="", template="{prompt}")


class SketchFaults(BaseModel):
    """Failures for demonstrations, by prompt digest (`ImageRequest.prompt_digest`).

    Attributes:
        unavailable_once: These fail as if the server were down, the first time in this process.
        rate_limited_once: These are asked to slow down, the first time in this process.
        blocked: These are refused by the filter, always.
        retry_after_s: What a rate limit says to wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unavailable_once: frozenset[str] = frozenset()
    rate_limited_once: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    retry_after_s: float = 0.0


def pixel_size(size: str, aspect_ratio: str) -> tuple[int, int]:
    """Return width and height in pixels of a named size at an aspect ratio.

    The area is about that of the named square; both sides are multiples of 8.

    Args:
        size: A key of `SIDES_PX`.
        aspect_ratio: Width to height, as in "16:9".
    """
    across, down = (int(part) for part in aspect_ratio.split(":"))
    side = SIDES_PX[size]
    stretch = math.sqrt(across / down)
    return max(8, round(side * stretch / 8) * 8), max(8, round(side / stretch / 8) * 8)


class SketchProvider:
    """Draws scenes from the words of the prompt; no key, no network, no cost.

    Args:
        latency_s: Waited before each image, to look like a remote provider; 0 in tests.
        faults: Failures to show on purpose.
        styles_folder: The user's own styles, besides the shipped ones.
    """

    name = "sketch"

    def __init__(
        self, *, latency_s: float = 0.0, faults: SketchFaults | None = None,
        styles_folder: Path | None = None,
    ) -> None:  # fmt: skip
        self._latency_s = latency_s
        self._faults = faults or SketchFaults()
        self._styles_folder = styles_folder
        self._failed: set[tuple[str, str]] = set()
        self._lock = Lock()

    def capabilities(self, model: str = "") -> Capabilities:
        """Return what `sketch-1` can do.

        Raises:
            UnsupportedRequest: another model was named.
        """
        if model not in ("", MODEL):
            raise UnsupportedRequest(
                f"The sketch provider has one model, {MODEL}; got {model[:60]!r}.",
                remedy=f"Leave the model empty or name {MODEL}.",
            )
        return Capabilities(
            provider=self.name, model=MODEL, sizes=dict.fromkeys(SIDES_PX, Decimal(0)),
            default_size="1K", aspect_ratios=ASPECT_RATIOS, seed=True, embedded=True,
        )  # fmt: skip

    async def check_configuration(self) -> None:
        """Nothing to configure."""

    async def generate(
        self, request: ImageRequest, references: Sequence[bytes] = ()
    ) -> GeneratedImage:
        """Draw one image in a worker thread. Costs nothing.

        Raises:
            UnsupportedRequest: outside the capabilities.
            ProviderUnavailable: as `faults` demand.
            RateLimited: as `faults` demand.
            ContentBlocked: as `faults` demand.
        """
        self.capabilities(request.model).check(request)
        if references:
            raise UnsupportedRequest(
                "sketch-1 takes no reference images.", remedy="Choose another model."
            )
        self._fail_on_purpose(request.prompt_digest)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        style = self._style(request.style)
        data = await asyncio.to_thread(draw, request, style)
        return GeneratedImage(
            data=data, media_type="image/png", cost_usd=Decimal(0), model=MODEL, seed=request.seed,
            facts={"kind": "procedural drawing", "technique": style.technique},
        )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing to release."""

    def _style(self, name: str) -> Style:
        try:
            return find_style(name, self._styles_folder)
        except RequestError:
            return _PLAIN

    def _fail_on_purpose(self, digest: str) -> None:
        if digest in self._faults.blocked:
            raise ContentBlocked(
                f"Prompt {digest} was blocked on purpose.", remedy="Change the prompt.",
                reason="demonstration",
            )  # fmt: skip
        if digest in self._faults.unavailable_once and self._first_time("unavailable", digest):
            raise ProviderUnavailable(
                f"Prompt {digest} met a server away on purpose.", remedy="It will be retried."
            )
        if digest in self._faults.rate_limited_once and self._first_time("limited", digest):
            raise RateLimited(
                f"Prompt {digest} was rate limited on purpose.", remedy="It will be retried.",
                retry_after_s=self._faults.retry_after_s,
            )  # fmt: skip

    def _first_time(self, what: str, digest: str) -> bool:
        with self._lock:
            fresh = (what, digest) not in self._failed
            self._failed.add((what, digest))
        return fresh


def words_of(request: ImageRequest, style: Style) -> str:
    """Return the asker's words: the subject, or the prompt without the style's own words."""
    if request.subject:
        return request.subject
    before, _, after = style.template.partition("{prompt}")
    if request.prompt.startswith(before) and request.prompt.endswith(after):
        return request.prompt.removeprefix(before).removesuffix(after)
    return request.prompt


def draw(request: ImageRequest, style: Style) -> bytes:
    """Return the picture as PNG: the same bytes for the same request and style.

    Args:
        request: A request within the capabilities.
        style: Its palette and technique are used; an unknown technique is drawn flat.
    """
    words = words_of(request, style)
    width_px, height_px = pixel_size(request.size, request.aspect_ratio)
    seed = _seed(words, request)
    if brief := sprite_brief(request.prompt):
        lone = draw_sprite(words, brief, (width_px, height_px), seed)
        return _png(_framed(lone, request.sample) if brief.technique != "ui" else lone)
    unit = min(width_px, height_px) / 100
    palette = _palette(style.palette)
    scene = compose(
        understand(words), (width_px / unit, height_px / unit), np.random.default_rng(seed), palette
    )
    image = TECHNIQUES.get(style.technique, flat)(
        Stage(scene, width_px, height_px, seed, palette)
    )  # fmt: skip
    return _png(_framed(image, request.sample))


def _framed(image: Image.Image, sample: int) -> Image.Image:
    """Look at a further sample from the other side and a little nearer.

    Calm styles leave the seed nothing to decide, and two samples were one picture.
    """
    if not sample:
        return image
    near = 1 - 0.025 * sample
    width, height = image.size
    left, top = (1 - near) * width * 0.5, (1 - near) * height * 0.6
    box = (left, top, left + near * width, top + near * height)
    closer = image.resize(image.size, Image.Resampling.LANCZOS, box=box)
    return ImageOps.mirror(closer) if sample % 2 else closer


@cache
def _palette(palette: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple(parse(colour) for colour in palette)


def _seed(words: str, request: ImageRequest) -> int:
    text = f"{words}\0{request.seed}\0{request.sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _png(image: Image.Image) -> bytes:
    """Encode with every choice pinned and no metadata, so that equal pictures are equal bytes.

    Level 3 takes a third of the time of level 6 for 2 % more bytes (measured on grainy pictures).
    """
    out = io.BytesIO()
    image.convert("RGB").save(out, "PNG", compress_level=3, optimize=False)
    return out.getvalue()
