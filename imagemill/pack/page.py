"""The report page of a pack: every asset on three grounds, how it got there, what was measured.

One HTML file that needs nothing but itself: pictures embedded, one style sheet named by its digest
in the page's Content-Security-Policy, no script. What people click works by CSS alone.
"""

import base64
import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from imagemill.animation.result import AnimationResult
from imagemill.asset.request import StyleGuide
from imagemill.asset.result import AssetMetadata, AssetResult
from imagemill.credits import drawers_label
from imagemill.errors import RequestError
from imagemill.gallery import inline_file, page_environment
from imagemill.pack.result import PackResult
from imagemill.preview import open_thumbnail
from imagemill.quality import Check
from imagemill.report import duration, money

PAGE = "report.html"
"""The page's name in the folder of its pack."""
_TITLE = re.compile(r"<title>(.*?) · ")
_SIDE_PX = ((24, 448), (80, 320), (500, 200))
"""(up to so many pictures, longest side in pixels): the page stays below about 8 MB."""
_SHEET_PX = 1200
_LINE = (132, 36)
"""Width and height of the line of scores, in the units of its view box."""


def check_own_folder(folder: str | Path, name: str) -> None:
    """Make sure that a folder does not hold another pack: its page and its files would be written over.

    Raises:
        RequestError: names the pack that lies there.
    """
    try:
        with (Path(folder).expanduser() / PAGE).open(encoding="utf-8") as file:
            head = file.read(4_096)
    except (OSError, ValueError):
        return
    found = _TITLE.search(head)
    there = html.unescape(found[1]) if found else name
    if there != name:
        raise RequestError(
            f"{folder} holds the pack {there!r}; {name!r} would be written over it.",
            remedy="Choose another --out / output_dir, or move that pack away.",
        )


@dataclass(frozen=True)
class Measured:
    """A check as the page shows it: value and limit with their unit."""

    name: str
    passed: bool
    value: str
    limit: str
    remedy: str


@dataclass(frozen=True)
class Card:
    """One asset as the template sees it. `line` are the points of its scores, `target_y` the bar."""

    result: AssetResult
    anchor: str
    picture: str | None
    href: str | None
    facts: tuple[tuple[str, str], ...]
    checks: tuple[Measured, ...]
    line: tuple[tuple[float, float, str], ...]
    target_y: float | None
    fit: float | None
    off_style: bool
    why: str
    remedy: str
    seen: str

    @property
    def failed(self) -> int:
        """How many checks did not pass."""
        return sum(not check.passed for check in self.checks)


@dataclass(frozen=True)
class Film:
    """One animation as the template sees it. `bars` are (frame, height 0 to 100, outlier, words)."""

    result: AnimationResult
    gif: str | None
    sheet: str | None
    sheet_href: str | None
    atlas_href: str | None
    bars: tuple[tuple[int, float, bool, str], ...]


def report_page(result: PackResult, guide: StyleGuide, folder: Path) -> str:
    """Return the page, to be written as UTF-8 into `folder`, beside the pictures.

    Holds prompts: it goes where the pictures go, and nowhere else.
    """
    frames = {name for film in result.animations for name in film.frame_ids}
    single = [each for each in result.assets.results if each.request_id not in frames]
    side_px = next((px for most, px in _SIDE_PX if len(single) <= most), 160)
    style, source = inline_file("pack.css")
    batch = result.assets.batch
    return page_environment().get_template("pack.html.jinja").render(
        name=result.name,
        label=drawers_label(batch),
        guide=guide,
        result=result,
        review=result.review,
        totals=_totals(result, len(single)),
        cards=[_card(each, result, folder, side_px) for each in single],
        films=[_film(each, folder) for each in result.animations],
        sheet=_webp(batch.contact_sheet_path, _SHEET_PX, quality=80),
        bill=result.assets.cost_summary.lines()[1:],
        style=style,
        policy=f"default-src 'none'; img-src data:; style-src {source}; base-uri 'none'; "
        "form-action 'none'",
    )  # fmt: skip


def _totals(result: PackResult, number: int) -> Iterator[tuple[str, str]]:
    assets = result.assets
    made = [r for r in assets.results if r.status == "success"]
    yield f"{len(made)} of {len(assets.results)}", "pictures made"
    if result.review and result.review.score is not None:
        yield f"{result.review.score:g}", "consistency of 100"
    reached = sum(bool(r.metadata and r.metadata.final_score >= assets.target_score) for r in made)
    yield f"{reached} of {len(made)}", f"reached {assets.target_score:g}"
    if result.animations:
        yield str(len(result.animations)), "animations"
    yield money(assets.batch.cost_usd), "spent"
    yield duration(assets.batch.seconds), "in all"


def _card(each: AssetResult, pack: PackResult, folder: Path, side_px: int) -> Card:
    metadata, label = each.metadata, f"{each.category}/{each.name}"
    review = pack.review
    fits = {a.name: a for a in review.pixels.assets} if review else {}
    eyes = {a.name: a for a in review.judgement.assets} if review and review.judgement else {}
    fit, eye = fits.get(label), eyes.get(label)
    line, target_y = _line(metadata, pack.assets.target_score)
    return Card(
        result=each, anchor=f"asset-{label.replace('/', '-').replace(' ', '_')}",
        picture=_webp(each.image.path, side_px) if each.image else None,
        href=_href(each.image.path, folder) if each.image else None,
        facts=tuple(_facts(each)),
        checks=tuple(_measured(check) for check in metadata.checks) if metadata else (),
        line=line, target_y=target_y,
        fit=eye.score if eye else fit.score if fit else None,
        off_style=bool(review and label in review.off_style),
        why=", ".join(fit.why) if fit else "", remedy=fit.remedy if fit else "",
        seen=eye.remark if eye else "",
    )  # fmt: skip


def _facts(each: AssetResult) -> Iterator[tuple[str, str]]:
    metadata = each.metadata
    if each.image:
        size = each.image.size
        yield "Size", f"{size.width} × {size.height}"
        yield "File", f"{each.image.file_size / 1000:.0f} kB"
    if metadata:
        yield "Iterations", str(metadata.total_iterations)
        yield "Cost", money(metadata.cost_usd)
        if metadata.finish and metadata.finish.cut_out:
            yield "Cut out", metadata.finish.segmenter or metadata.finish.cut_out
        yield "Judge", f"{metadata.judge}, meaning {metadata.semantic}"


def _measured(check: Check) -> Measured:
    limit = check.threshold
    told = f"{limit[0]:g} to {limit[1]:g}" if isinstance(limit, tuple) else f"{limit:g}"
    return Measured(
        name=check.name.replace("_", " "), passed=check.passed,
        value=f"{check.value:g} {check.unit}", limit=told, remedy=check.remedy,
    )  # fmt: skip


def _line(
    metadata: AssetMetadata | None, target: float
) -> tuple[tuple[tuple[float, float, str], ...], float | None]:
    """Return the points of the score history in the units of the view box, and the target's height."""
    if metadata is None or not metadata.iteration_history:
        return (), None
    history, (width, height) = metadata.iteration_history, _LINE
    step = (width - 12) / max(1, len(history) - 1)

    def y(score: float) -> float:
        return round(4 + (height - 8) * (1 - score / 100), 1)

    points = tuple(
        (round(6 + step * place, 1), y(turn.score), f"{turn.score:g}" if turn.judged else "?")
        for place, turn in enumerate(history)
    )
    return points, y(target)


def _film(each: AnimationResult, folder: Path) -> Film:
    gif = None
    if each.gif_path:
        data = base64.b64encode(Path(each.gif_path).read_bytes()).decode()
        gif = f"data:image/gif;base64,{data}"
    bars = tuple(
        (place, round(min(100.0, 100 * drift / 1.25), 1), drift > 1, f"{drift:.2f}")
        for place, drift in enumerate(each.drift)
    )
    return Film(
        result=each, gif=gif, sheet=_webp(each.sheet_path, 1000) if each.sheet_path else None,
        sheet_href=_href(each.sheet_path, folder), atlas_href=_href(each.atlas_path, folder),
        bars=bars,
    )  # fmt: skip


def _href(path: str | None, folder: Path) -> str | None:
    return quote(os.path.relpath(path, folder).replace(os.sep, "/")) if path else None


def _webp(path: str | None, side_px: int, *, quality: int = 0) -> str | None:
    """Return a picture as an embedded WebP of at most this side, lossless unless told otherwise."""
    picture = open_thumbnail(path, side_px) if path else None
    if picture is None:
        return None
    out = BytesIO()
    if quality:
        picture.save(out, "WEBP", quality=quality, method=4)
    else:
        few = picture.mode == "RGBA" and len(picture.getcolors(1 << 20) or ()) < 600
        picture.save(out, "WEBP", lossless=few, quality=86, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
