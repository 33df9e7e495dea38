"""The report page of a pack in a real browser: grounds, phone, hostile words, nothing fetched."""

from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from imagemill.animation import gif_preview, sprite_sheet
from imagemill.animation.result import AnimationResult, RedoneFrame
from imagemill.asset.publishing import AssetsResult, CostSummary
from imagemill.asset.request import AssetSize, StyleGuide
from imagemill.asset.result import AssetError, AssetImage, AssetMetadata, AssetResult, Iteration
from imagemill.pack.page import report_page
from imagemill.pack.result import PackResult
from imagemill.pack.review import reviewed
from imagemill.quality import CheckSpec, technical_checks
from imagemill.request import BatchResult
from tests.browser_fixture import chromium, visit  # noqa: F401
from tests.unit import motion, planted, styled

pytestmark = pytest.mark.browser

HOSTILE = "<script>document.title='ran'</script>\"><img src=x onerror=\"document.title='ran'\">"
NAMES = ("fox", "owl", "bear", "frog", "crab", "key")


def made(folder, name, picture, *, scores=(62, 71, 93)) -> AssetResult:
    (folder / "items").mkdir(exist_ok=True)
    path = folder / "items" / f"{name}.png"
    Image.fromarray(picture).save(path)
    history = tuple(
        Iteration(iteration=n, score=score, generation_time=1, passed=score >= 90)
        for n, score in enumerate(scores, 1)
    )
    metadata = AssetMetadata(
        total_iterations=len(scores), iteration_history=history, final_score=max(scores),
        iteration=scores.index(max(scores)) + 1, score=max(scores), cost_usd=Decimal("0.12"),
        stopped=f"target: {HOSTILE}", judge="eyes", checks=technical_checks(picture, CheckSpec()),
    )  # fmt: skip
    return AssetResult(
        request_id=f"items/{name}", status="success", category="items", name=name, state="made",
        image=AssetImage(path=str(path), size=AssetSize(width=256, height=256), file_size=900),
        metadata=metadata,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Six assets, one of them off style and with a halo; one failure; one animation."""
    folder = tmp_path_factory.mktemp("pack")
    pictures = {f"items/{n}": planted.sprite(n, outline=1.2) for n in NAMES}
    pictures["items/key"] = styled.soft("key", pictures["items/key"], 1)
    results = [made(folder, name.partition("/")[2], p) for name, p in pictures.items()]
    results.append(AssetResult(
        request_id="items/lost", status="failed", category="items", name="lost", state="failed",
        error=AssetError(message=HOSTILE, reason="NoImage"),
    ))  # fmt: skip
    frames = motion.animation("dog", "bob")
    (folder / "dog.gif").write_bytes(gif_preview(frames))
    (folder / "dog_sheet.png").write_bytes(sprite_sheet(frames, name="dog_sheet").png)
    film = AnimationResult(
        name="dog", category="items", status="success", frames=8, frame_ms=100, frame_ids=(),
        referenced=True, drift=(0.2, 0.3, 0.2, 0.4, 1.3, 0.2, 0.2, 0.1), outliers=(4,),
        redone=(RedoneFrame(frame=4, why="colours", attempts=3, held=False),),
        gif_path=str(folder / "dog.gif"), sheet_path=str(folder / "dog_sheet.png"),
        atlas_path=str(folder / "dog_sheet.json"),
    )  # fmt: skip
    zero = dict.fromkeys((
        "images_generated", "images_usd", "vision_calls", "vision_tokens", "vision_usd",
        "refine_calls", "refine_tokens", "refine_usd", "other_usd", "total_usd", "saved_usd",
    ), 0)  # fmt: skip
    assets = AssetsResult(
        batch=BatchResult.of("run-1", (), provider="sketch", model="s", style_name="x"),
        results=tuple(results), cost_summary=CostSummary.model_validate(zero), target_score=90,
        judge="eyes", refiner="rules", segmenter="none", notes=(HOSTILE,),
    )  # fmt: skip
    result = PackResult(name=HOSTILE, assets=assets, animations=(film,), review=reviewed(pictures))
    guide = StyleGuide(mood=HOSTILE, color_palette=("#112233", "#FFCC00"))
    path = folder / "report.html"
    path.write_text(report_page(result, guide, folder), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize(("width_px", "dark"), [(390, False), (390, True), (1440, False)])
def test_the_page_fits_and_fetches_nothing(chromium, page, width_px, dark):  # noqa: F811
    """On a phone and on a desk, light and dark: no sideways scrolling, also with all details open."""
    with visit(chromium, page, width_px=width_px, dark=dark) as seen:
        assert seen.page.locator(".card").count() == 7
        for summary in seen.page.locator("summary").all():
            summary.click()
        assert seen.overflow_px() == 0
        assert seen.page.locator(".film img").first.evaluate("i => i.naturalWidth") > 0
        assert seen.is_clean()


def test_the_ground_can_be_changed_by_keyboard_and_without_script(chromium, page):  # noqa: F811
    """Checkerboard, white, dark: each really changes what lies behind the pictures."""
    with visit(chromium, page, script=False) as seen:
        seen.page.locator("#ground-checker").focus()
        seen.page.keyboard.press("ArrowRight")
        assert seen.page.locator("#ground-white").is_checked()
        shot = seen.page.locator(".card .stage").first.screenshot()
        white = corner(shot)
        seen.page.get_by_text("Dark", exact=True).click()
        dark = corner(seen.page.locator(".card .stage").first.screenshot())
        assert (white.min(), dark.max() < 60) == (255, True)


def corner(png: bytes) -> np.ndarray:
    from io import BytesIO

    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))[8:14, 8:14]


def test_what_is_wrong_stands_at_the_top_with_its_remedy(chromium, page):  # noqa: F811
    """The off-style asset is named and linked, its failed checks are counted and have remedies."""
    with visit(chromium, page) as seen:
        alarm = seen.page.locator(".alarm")
        assert "items/key is off style" in alarm.inner_text()
        alarm.get_by_role("link", name="items/key").click()
        card = seen.page.locator("#asset-items-key")
        assert "checks failed" in card.locator("summary").inner_text()
        card.locator("summary").click()
        assert card.locator("tr.remedy").count() >= 1
        assert "NoImage" in seen.page.locator("#asset-items-lost").inner_text()
        assert "frame 5 (colours, still off)" in seen.page.locator(".film").inner_text()
        assert seen.page.locator(".drift .odd").count() == 1
        assert seen.is_clean()


def test_hostile_words_stay_words(chromium, page):  # noqa: F811
    """In the name, the mood, a note and an error."""
    with visit(chromium, page) as seen:
        assert seen.page.locator("h1").text_content() == HOSTILE
        assert seen.page.title().startswith("<script>")
        assert seen.page.locator("script").count() == 0
        assert seen.page.locator("img[src=x]").count() == 0
        assert seen.is_clean()
