"""The gallery: a batch as one HTML page that needs nothing but itself.

Thumbnails are embedded, script and style are inline and named by their digests in the page's
Content-Security-Policy, so nothing else can run and nothing is fetched, whatever a prompt says.
Without JavaScript every image and fact is still there.
"""

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from imagemill.credits import drawers_label, provider_label
from imagemill.preview import PREVIEW_PX, open_thumbnail
from imagemill.report import ambiguous_usd, class_in_words, duration, money
from imagemill.request import BatchResult, ImageResult

DENSE_FROM = 500
"""Above so many images the page shows small squares without captions."""

_PREVIEWS = ((24, 960, 82), (100, 640, 80), (300, 400, 78), (DENSE_FROM, 280, 74))
"""(up to so many images, longest side in pixels, WebP quality): a page stays below about 12 MB."""
_PREVIEW_MANY = (160, 66)
_TAKES_PREVIEW_PX = 640
"""Up to here the ready preview is sharp enough; above, the full picture is read."""
_ALT_CHARS = 240


@dataclass(frozen=True)
class _Preview:
    """An embedded picture: a data URI, its size in pixels, and whether one can see through it."""

    uri: str
    clear: bool
    width_px: int
    height_px: int


@dataclass(frozen=True)
class _Frame:
    """One image as the template sees it. `facts` are (name, value) for people."""

    image: ImageResult
    preview: _Preview | None
    href: str | None
    why: str
    group: str
    alt: str
    facts: tuple[tuple[str, str], ...]
    brief: str


@cache
def page_environment() -> Environment:
    """Return where the templates of our pages are, everything escaped."""
    return Environment(
        loader=PackageLoader("imagemill", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline_file(name: str) -> tuple[Markup, str]:
    """Return a script or style of ours, and its source expression for the policy."""
    text = (resources.files("imagemill") / "templates" / name).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704 - our own file, no input in it


def _preview(image: ImageResult, side_px: int, quality: int) -> _Preview | None:
    if not image.success or not image.local_path:
        return None
    small = image.preview_path if side_px <= _TAKES_PREVIEW_PX else None
    if small and side_px >= PREVIEW_PX * 0.8 and (ready := _as_it_is(small)):
        return ready
    picture = open_thumbnail(small or image.local_path, side_px)
    if picture is None:
        return None
    out = BytesIO()
    picture.save(out, "WEBP", quality=quality, method=3)
    return _embedded(out.getvalue(), picture.size, clear=picture.mode == "RGBA")


def _as_it_is(small: str) -> _Preview | None:
    """Embed a preview file without decoding it."""
    try:
        with Image.open(small) as picture:
            return _embedded(
                Path(small).read_bytes(), picture.size, clear=picture.has_transparency_data
            )
    except (OSError, ValueError, SyntaxError):
        return None


def _embedded(webp: bytes, size: tuple[int, int], *, clear: bool) -> _Preview:
    uri = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
    return _Preview(uri, clear, size[0], size[1])


def _href(image: ImageResult, folder: Path | None) -> str | None:
    """Return where the full image is: beside the page in `folder`, else its web address."""
    if folder is not None and image.local_path:
        return quote(os.path.relpath(image.local_path, folder).replace(os.sep, "/"))
    if image.url and urlsplit(image.url).scheme in {"http", "https"}:
        return image.url
    return None


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def _facts(image: ImageResult) -> Iterator[tuple[str, str]]:
    if image.width_px:
        yield "Size", f"{image.width_px} × {image.height_px}"
    if image.size_bytes:
        kind = (image.media_type or "").removeprefix("image/").upper()
        yield "File", f"{kind} {_megabytes(image.size_bytes)}".strip()
    seed = "" if image.seed is None else str(image.seed)
    for name, value in (("Style", image.style_name), ("Seed", seed), ("Sample", image.sample)):
        if value:
            yield name, str(value)
    yield ("Saved" if image.reused else "Cost"), money(image.cost_usd)
    if image.seconds:
        yield "Time", duration(image.seconds)
    yield "Attempts", str(image.attempts)
    if image.success and image.provider:
        yield "Drawn by", provider_label(image.provider, image.model)
    if image.sha256:
        yield "sha256", image.sha256[:12]


def _brief(image: ImageResult) -> str:
    if image.reused:
        return f"reused · {money(image.cost_usd)} saved"
    if image.status == "ambiguous":
        return f"up to {money(image.cost_usd)}"
    if not image.success:
        return f"{image.attempts} attempts" if image.attempts > 1 else ""
    return " · ".join([money(image.cost_usd), duration(image.seconds)])


def _frame(image: ImageResult, preview: _Preview | None, *, folder: Path | None) -> _Frame:
    why = "preview missing" if image.success and preview is None else class_in_words(image)
    prompt = " ".join(image.prompt.split())
    alt = prompt if len(prompt) <= _ALT_CHARS else prompt[:_ALT_CHARS] + "…"
    return _Frame(
        image=image,
        preview=preview,
        href=_href(image, folder) if image.success else None,
        why=why,
        group=image.status if image.success else "failed",
        alt=alt,
        facts=tuple(_facts(image)),
        brief=_brief(image),
    )


def _totals(result: BatchResult) -> list[tuple[str, str]]:
    totals = [(f"{result.success_count:,} of {result.total:,}", "images"),
              (money(result.cost_usd), "spent")]  # fmt: skip
    if result.ambiguous_count:
        totals.append((money(ambiguous_usd(result.results)), "of it perhaps not billed"))
    if result.reused_count:
        totals.append((money(result.saved_usd), "saved by reuse"))
    if result.seconds:
        totals.append((duration(result.seconds), "in all"))
    return totals


def _filters(result: BatchResult) -> list[tuple[str, str, int]]:
    """Return (group, word, number of images) of the filters."""
    made = sum(image.status == "made" for image in result.results)
    reused = sum(image.status == "reused" for image in result.results)
    rest = len(result.results) - made - reused
    return [("all", "All", len(result.results)), ("made", "Made", made),
            ("reused", "Reused", reused), ("failed", "Failed", rest)]  # fmt: skip


def gallery_page(
    result: BatchResult, *, title: str = "", beside: Path | None = None, preview_px: int = 0
) -> str:
    """Return the batch as one self-contained HTML page, to be written as UTF-8.

    Thumbnails are read from `local_path` one at a time and embedded; the page in memory is what
    they weigh. A file that cannot be read leaves a quiet tile. The page holds prompts: it goes
    where the images go, and nowhere else.

    Args:
        result: The batch; images are numbered from 1, in input order.
        title: Heading; default the style's name.
        beside: The folder the page will lie in. Given, full images are linked as files relative
            to it; else by their `url`.
        preview_px: Longest side of the embedded pictures; default 960 for a few images, down to
            160 for more than 500.
    """
    return _page(result, _previews(result, preview_px), title=title, beside=beside)


def gallery_pages(result: BatchResult, *, beside: Path) -> tuple[str, str]:
    """Return the page for the store, and the one for the folder `beside`; see `gallery_page`.

    Thumbnails are made once for both.
    """
    previews = list(_previews(result))
    return _page(result, previews), _page(result, previews, beside=beside)


def _previews(result: BatchResult, preview_px: int = 0) -> Iterator[_Preview | None]:
    number = len(result.results)
    steps = ((side, quality) for most, side, quality in _PREVIEWS if number <= most)
    side_px, quality = next(steps, _PREVIEW_MANY)
    return (_preview(image, preview_px or side_px, quality) for image in result.results)


def _page(
    result: BatchResult,
    previews: Iterable[_Preview | None],
    *,
    title: str = "",
    beside: Path | None = None,
) -> str:
    style, style_source = inline_file("gallery.css")
    script, script_source = inline_file("gallery.js")
    return page_environment().get_template("gallery.html.jinja").render(
        title=title or result.style_name or "Gallery",
        label=drawers_label(result),
        result=result,
        totals=_totals(result),
        filters=_filters(result),
        dense=len(result.results) > DENSE_FROM,
        frames=(
            _frame(image, preview, folder=beside)
            for image, preview in zip(result.results, previews, strict=True)
        ),
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {style_source}; "
        f"script-src {script_source}; base-uri 'none'; form-action 'none'",
    )  # fmt: skip
