"""The gallery page, as text; `tests/apps/test_gallery_browser.py` opens it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from imagemill.gallery import DENSE_FROM, gallery_page
from imagemill.request import BatchResult
from tests.unit.test_contact_sheet import image_result


def page_of(results, *, beside=None, **more):
    result = BatchResult.of("run-1", tuple(results), **more)
    return gallery_page(result, beside=beside)


class Addresses(HTMLParser):
    """All that a page could fetch or lead to."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [
            value for name, value in attrs if name in {"src", "href", "srcset", "action"}
        ]


def test_the_page_needs_nothing_but_itself(tmp_path):
    """Everything shown is embedded: the only addresses outside are links to full images."""
    results = [image_result(tmp_path, index=0), image_result(tmp_path, index=1, status="failed")]
    found = Addresses(page_of(results)).found
    assert [a for a in found if not a.startswith(("data:", "#"))] == [
        "https://images.example/0.png"
    ]
    assert "@import" not in page_of(results)


def test_the_policy_names_our_script_and_no_other(tmp_path):
    """The policy lets only the shipped script and style run, by their digests."""
    page = page_of([image_result(tmp_path)])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_a_hostile_prompt_is_escaped(tmp_path):
    """No prompt, error, style or model can open a tag or leave its attribute."""
    evil = "\"'><script>alert(1)</script>"
    results = [image_result(tmp_path, index=0, prompt=evil),
               image_result(tmp_path, index=1, status="failed", prompt=evil, error=evil,
                            error_class=evil)]  # fmt: skip
    page = page_of(results, style_name=evil, provider=evil, model=evil)
    assert page.count("<script>") == 1
    assert evil not in page


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd"])
def test_only_web_addresses_are_linked(tmp_path, url):
    """A URL that would run or open something local does not become a link."""
    page = page_of([image_result(tmp_path, url=url)])
    assert url not in page
    assert 'href="#image-1"' in page


def test_a_page_beside_its_images_links_files(tmp_path):
    """Given its folder, the page links relative files, so the folder can be moved or sent."""
    (tmp_path / "a b").mkdir()
    page = page_of([image_result(tmp_path / "a b")], beside=tmp_path)
    assert 'href="a%20b/0.png"' in page
    assert str(tmp_path) not in page


def test_a_page_in_the_store_tells_no_local_path(tmp_path):
    """Without a folder the page says nothing about the machine it was made on."""
    assert str(tmp_path) not in page_of([image_result(tmp_path)])


def test_every_fact_is_on_the_page(tmp_path):
    """Size, file, seed, sample, cost, time, attempts and digest are there for each image."""
    image = image_result(tmp_path, index=3, sample=2, attempts=4)
    page = page_of([image], provider="sketch", style_name="Flat Corporate", seconds=100.0)
    for fact in ("80 × 80", "PNG 2.0 MB", "<dd>7</dd>", "<dd>2</dd>", "$0.039", "4.2 s",
                 "<dd>4</dd>", "000000000000", "sketch · procedural drawing", "1 of 1",
                 "1 min 40 s", "Flat Corporate"):  # fmt: skip
        assert fact in page, fact


def test_money_is_told_honestly(tmp_path):
    """Reuse counts as saved, an ambiguous image as perhaps not billed, a retry is not hidden."""
    page = page_of([
        image_result(tmp_path, index=0, status="reused"),
        image_result(tmp_path, index=1, status="ambiguous"),
        image_result(tmp_path, index=2, status="failed", attempts=3),
        image_result(tmp_path, index=3, status="not_started"),
    ])  # fmt: skip
    assert "saved by reuse" in page
    assert "of it perhaps not billed" in page
    assert "up to $0.039" in page
    assert "3 attempts" in page
    assert "File</dt> <dd>PNG 1 kB" in page


def test_a_lost_preview_leaves_a_tile(tmp_path):
    """An image whose file is gone is still listed, with its link."""
    image = image_result(tmp_path)
    (tmp_path / "0.png").unlink()
    nowhere = image_result(tmp_path, index=1, local_path=None, url=None)
    page = page_of([image, nowhere])
    assert page.count("preview missing") == 2
    assert 'href="https://images.example/0.png"' in page


def test_previews_keep_transparency_and_say_what_they_show(tmp_path):
    """A see-through image is embedded as WebP with its alpha; its prompt is its alt text."""
    page = page_of([image_result(tmp_path, mode="RGBA", prompt="a fox\n" + "x" * 900)])
    data = base64.b64decode(re.search(r"data:image/webp;base64,([^\"]+)", page)[1])
    with Image.open(BytesIO(data)) as preview:
        assert preview.mode == "RGBA"
    alt = re.search(r'alt="([^"]*)"', page)[1]
    assert alt.startswith("a fox x")
    assert len(alt) < 300
    assert 'class="clear"' in page


def test_a_big_batch_gets_small_previews(tmp_path):
    """More than 500 images become a dense sheet of small squares; the page stays light."""
    image = image_result(tmp_path, size=(800, 400))
    few = page_of([image])
    many = page_of([image] * (DENSE_FROM + 1))
    assert 'width="800"' in few
    assert 'width="160" height="80"' in many
    assert 'class="sheet dense"' in many
    assert 'class="sheet"' in few


def test_an_empty_batch_is_a_page(tmp_path):
    """Nothing made, nothing asked: still a page, with a name."""
    page = page_of([])
    assert "<h1>Gallery</h1>" in page
    assert "0 of 0" in page
