"""The gallery in a real browser."""

import pytest
from playwright.sync_api import expect

from imagemill.gallery import gallery_page
from imagemill.request import BatchResult
from tests.browser_fixture import chromium, refuse_without_browser, visit  # noqa: F401
from tests.unit.test_contact_sheet import image_result

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>document.title='ran'</script>",
    '"><img src=x onerror="document.title=\'ran\'">',
    "</p></li></ol><svg onload=\"document.title='ran'\">",
    "' autofocus onfocus=document.title='ran' x='",
    "{{ 7 * 7 }} javascript:document.title='ran'",
)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The address of a gallery: 8 images of every kind, then hostile prompts."""
    folder = tmp_path_factory.mktemp("gallery")
    plain = [
        image_result(folder, index=0, prompt="a red fox in the snow", cost_usd="0.02"),
        image_result(folder, index=1, prompt="a blue whale", size=(120, 60), cost_usd="0.04"),
        image_result(folder, index=2, prompt="a green tree", status="reused"),
        image_result(
            folder, index=3, prompt="눈 속의 여우", status="failed", error_class="blocked"
        ),
        image_result(folder, index=4, status="ambiguous"),
        image_result(folder, index=5, status="not_started", error_class="budget"),
        image_result(folder, index=6, prompt="word" * 500),
        image_result(folder, index=7, prompt="a red kite", mode="RGBA", size=(40, 160)),
    ]
    hostile = [
        image_result(folder, index=8 + at, prompt=prompt, status=("made", "failed")[at % 2],
                     error=prompt)
        for at, prompt in enumerate(HOSTILE)
    ]  # fmt: skip
    result = BatchResult.of(
        "run-1", (*plain, *hostile), provider="sketch", model="s", style_name=HOSTILE[0]
    )
    page = folder / "gallery.html"
    page.write_text(gallery_page(result, beside=folder), "utf-8")
    return page.as_uri()


def numbers(page):
    return page.locator(".frame:visible .no").all_inner_texts()


@pytest.mark.parametrize("width_px", [390, 1440])
def test_the_failure_filter_shows_only_failures(chromium, gallery, width_px):  # noqa: F811
    """On a phone and on a desk, "Failed" leaves what was not made, and "All" brings all back."""
    with visit(chromium, gallery, width_px=width_px) as seen:
        seen.page.get_by_role("button", name="Failed 5").click()
        assert numbers(seen.page) == ["4", "5", "6", "10", "12"]
        assert seen.page.locator("[aria-pressed=true]").inner_text().startswith("Failed")
        seen.page.get_by_role("button", name="All 13").click()
        assert len(numbers(seen.page)) == 13
        assert seen.is_clean()


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_never_scrolls_sideways(chromium, gallery, dark):  # noqa: F811
    """At 390 px neither the sheet nor an open image is wider than the screen."""
    with visit(chromium, gallery, width_px=390, height_px=844, dark=dark) as seen:
        assert seen.overflow_px() == 0
        seen.page.locator("#image-7 .picture").click()
        assert seen.overflow_px() == 0
        box = seen.page.locator("#box").bounding_box()
        assert box is not None
        assert box["width"] == 390
        assert seen.is_clean()


def test_a_hostile_prompt_does_not_run(chromium, gallery):  # noqa: F811
    """Words that look like a program stay words: on the sheet, in the open image, in a search."""
    with visit(chromium, gallery) as seen:
        for at, prompt in enumerate(HOSTILE):
            assert seen.page.locator(f"#image-{9 + at} .prompt").text_content() == prompt
            seen.page.locator(f"#image-{9 + at} .picture").click()
            assert seen.page.locator("#box-prompt").text_content() == prompt
            seen.page.keyboard.press("Escape")
        assert seen.page.title().startswith("<script>")
        assert seen.page.locator("h1").text_content() == HOSTILE[0]
        assert seen.page.locator("script").count() == 1
        assert seen.is_clean()


def test_the_lightbox_is_led_by_the_keyboard(chromium, gallery):  # noqa: F811
    """Enter opens, arrows walk round among what is shown, Escape closes and gives back focus."""
    with visit(chromium, gallery) as seen:
        page = seen.page
        page.locator("#image-1 .picture").focus()
        page.keyboard.press("Enter")
        assert page.locator("#box-no").inner_text() == "Image 1"
        assert page.locator("#box-facts").inner_text().replace("\n", " ").startswith("Size 80")
        page.keyboard.press("ArrowRight")
        assert page.locator("#box-no").inner_text() == "Image 2"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert page.locator("#box-no").inner_text() == "Image 13"
        page.keyboard.press("Home")
        page.keyboard.press("End")
        assert page.locator("#box-of").inner_text() == "13 of 13"
        page.keyboard.press("Escape")
        expect(page.locator("#box")).to_be_hidden()
        expect(page.locator("#image-13 .picture")).to_be_focused()
        assert seen.is_clean()


def test_an_open_failure_says_why_and_offers_no_image(chromium, gallery):  # noqa: F811
    """A failed image opens to its error; there is no link to a picture that does not exist."""
    with visit(chromium, gallery) as seen:
        seen.page.locator("#image-4 .picture").click()
        assert seen.page.locator("#box .tile").inner_text().startswith("blocked")
        assert seen.page.locator("#box-error").inner_text() == "It did not work. Try again."
        assert not seen.page.locator("#full").is_visible()
        seen.page.keyboard.press("ArrowLeft")
        assert seen.page.locator("#full").get_attribute("href").endswith("/2.png")
        assert seen.is_clean()


def test_search_and_sort_work_together(chromium, gallery):  # noqa: F811
    """A search narrows to prompts with all its words; sorting reorders; "Show all" resets."""
    with visit(chromium, gallery) as seen:
        page = seen.page
        page.keyboard.press("/")
        page.keyboard.type("fox  RED")
        expect(page.locator(".frame:visible")).to_have_count(3)
        assert numbers(page) == ["1", "5", "6"]
        page.get_by_label("Sort").select_option("Prompt A–Z")
        assert numbers(page) == ["5", "6", "1"]
        page.get_by_label("Search prompts").fill("zebra")
        page.locator("#nothing").wait_for()
        page.get_by_role("button", name="Show all").click()
        page.get_by_label("Sort").select_option("Dearest first")
        assert numbers(page)[0] == "2"
        assert seen.is_clean()


def test_a_prompt_can_be_copied(chromium, gallery):  # noqa: F811
    """The button copies the prompt to the letter and says that it did."""
    with visit(chromium, gallery) as seen:
        seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        seen.page.locator("#image-4 .picture").click()
        seen.page.get_by_role("button", name="Copy prompt").click()
        seen.page.get_by_role("button", name="Copied").wait_for()
        assert seen.page.evaluate("navigator.clipboard.readText()") == "눈 속의 여우"
        assert seen.is_clean()


def test_without_script_everything_is_there(chromium, gallery):  # noqa: F811
    """JavaScript off: all images, prompts, facts and links are visible; dead controls are not."""
    with visit(chromium, gallery, width_px=390, script=False) as seen:
        assert seen.page.locator(".frame").count() == 13
        assert seen.page.locator("#image-1 img").is_visible()
        assert "Seed 7" in seen.page.locator("#image-1 .facts").inner_text()
        assert seen.page.locator("#image-1 .picture").get_attribute("href") == "0.png"
        assert seen.page.locator("#image-4 .error").is_visible()
        assert not seen.page.locator("#bar").is_visible()
        assert seen.strangers == []


@pytest.mark.parametrize(("ci", "outcome"), [("true", "Failed"), ("", "Skipped")])
def test_a_missing_browser_is_never_silent(monkeypatch, tmp_path, ci, outcome):
    """Without Chromium the tests skip with a reason at a desk, and fail in CI."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(BaseException, match="no Chromium at") as raised:
        refuse_without_browser(tmp_path / "chromium")
    assert type(raised.value).__name__ == outcome
