"""The contact sheet."""

from io import BytesIO

import pytest
from PIL import Image

from imagemill.contact_sheet import MAX_CELLS, PAPER, ContactSheet, contact_sheet
from imagemill.preview import open_thumbnail
from imagemill.request import ImageResult


def image_result(folder, *, index=0, status="made", size=(80, 80), mode="RGB", **changes):
    """One result; with a picture in `folder` when the status says that there is one."""
    fields = {
        "index": index,
        "prompt": "a red fox",
        "status": status,
        "success": status in {"made", "reused"},
        "reused": status == "reused",
        "key": f"{index:064x}",
        "cost_usd": "0" if status in {"failed", "not_started"} else "0.039",
        "attempts": 0 if status == "not_started" else 1,
        "seed": 7,
    }
    if fields["success"]:
        path = folder / f"{index}.png"
        colour = (180, 60, 30) if mode == "RGB" else (180, 60, 30, 0)
        Image.new(mode, size, colour).save(path)
        fields |= {
            "local_path": str(path), "url": f"https://images.example/{index}.png",
            "sha256": f"{index:064x}", "media_type": "image/png", "width_px": size[0],
            "height_px": size[1], "size_bytes": 2_000_000 if index else 900,
            "seconds": 0.0 if fields["reused"] else 4.2,
        }  # fmt: skip
    else:
        fields |= {"error": "It did not work. Try again.", "error_class": status}
    return ImageResult(**{**fields, **changes})


def opened(png):
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return picture.convert("RGB")


def colours(picture):
    return {colour for _, colour in picture.getcolors(maxcolors=1 << 20)}


def test_the_same_results_give_the_same_bytes(tmp_path):
    """A sheet made twice is one object in the store."""
    results = [image_result(tmp_path, index=at) for at in range(5)]
    results.append(image_result(tmp_path, index=5, status="ambiguous"))
    once, again = (contact_sheet(results, title="T", label="sketch") for _ in range(2))
    assert once == again


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 30, 201, MAX_CELLS + 12])
def test_any_number_of_images_makes_a_sheet(tmp_path, number):
    """From none to more than fit, the sheet is neither a ribbon nor a tower."""
    one = image_result(tmp_path)
    sheet = opened(contact_sheet([one] * number, title="Many", cell_px=60))
    assert 720 <= sheet.width <= 3000
    assert sheet.height < sheet.width * 1.4


def test_a_sheet_stays_within_its_memory(tmp_path):
    """Huge cells are made smaller before the sheet outgrows what a phone can open."""
    results = [image_result(tmp_path)] * 4
    sheet = opened(contact_sheet(results, title="Large", cell_px=9_000, columns=2))
    assert sheet.width * sheet.height < 60_000_000


def test_columns_can_be_chosen(tmp_path):
    """Fewer columns make a narrower, higher sheet."""
    results = [image_result(tmp_path)] * 12
    narrow, wide = (opened(contact_sheet(results, title="", columns=n)) for n in (4, 12))
    assert narrow.width < wide.width
    assert narrow.height > wide.height


@pytest.mark.parametrize(
    ("status", "tone"),
    [("failed", "#f5e6e1"), ("ambiguous", "#f6ecd3"), ("not_started", "#efece6")],
)
def test_what_was_not_made_is_told_apart_by_tone(tmp_path, status, tone):
    """Failed, ambiguous and not started look different, and none looks like a picture."""
    sheet = opened(contact_sheet([image_result(tmp_path, status=status)], title="T"))
    assert tuple(bytes.fromhex(tone[1:])) in colours(sheet)


def test_a_reused_image_wears_a_badge(tmp_path):
    """Reuse shows on the image itself, and nothing else about it changes."""
    made = image_result(tmp_path)
    reused = made.model_copy(update={"reused": True, "status": "reused"})
    one, other = (opened(contact_sheet([r], title="T")) for r in (made, reused))
    assert one.size == other.size
    assert (0xB9, 0xB2, 0xA6) in colours(other) - colours(one)


def test_a_lost_file_does_not_cost_the_sheet(tmp_path):
    """A file that is gone or broken becomes a tile; the other images are there."""
    gone = image_result(tmp_path, index=0)
    broken = image_result(tmp_path, index=1)
    whole = image_result(tmp_path, index=2)
    nowhere = image_result(tmp_path, index=3, local_path=None)
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    sheet = opened(contact_sheet([gone, broken, whole, nowhere], title="T"))
    assert {(180, 60, 30), (0xEF, 0xEC, 0xE6)} <= colours(sheet)


def test_transparency_is_shown_on_a_checker(tmp_path):
    """Where a picture is see-through, a faint checker says so; nothing turns black."""
    sheet = opened(contact_sheet([image_result(tmp_path, mode="RGBA")], title=""))
    assert {(0xFF, 0xFF, 0xFF), (0xF1, 0xEE, 0xE8)} <= colours(sheet)
    assert (0, 0, 0) not in colours(sheet)


def test_mixed_aspect_ratios_stand_on_one_line(tmp_path):
    """Wide and high pictures of a row share their lower edge, and keep their shapes."""
    results = [
        image_result(tmp_path, index=0, size=(160, 80)),
        image_result(tmp_path, index=1, size=(80, 160)),
    ]
    sheet = opened(contact_sheet(results, title="T"))
    red = Image.eval(sheet.getchannel("G"), lambda green: 255 * (green == 60))
    half = sheet.width // 2
    left, right = red.crop((0, 0, half, sheet.height)), red.crop((half, 0, *sheet.size))
    wide, high = left.getbbox(), right.getbbox()
    assert wide[3] == high[3]
    assert (wide[2] - wide[0]) == 2 * (wide[3] - wide[1])
    assert (high[3] - high[1]) == 2 * (high[2] - high[0])


def test_a_prompt_the_font_cannot_write_leaves_no_boxes(tmp_path):
    """A Korean prompt gives the same sheet as no words at all: no row of empty boxes."""
    korean = image_result(tmp_path, prompt="눈 속의 여우")
    silent = korean.model_copy(update={"prompt": "🦊"})
    latin = korean.model_copy(update={"prompt": "a fox"})
    sheets = [contact_sheet([one], title="한글") for one in (korean, silent, latin)]
    assert sheets[0] == sheets[1] != sheets[2]


def test_long_words_stay_on_the_sheet(tmp_path):
    """A title and prompts longer than the sheet end in an ellipsis, not beyond the edge."""
    results = [image_result(tmp_path, prompt="fox" * 2_000)]
    sheet = opened(contact_sheet(results, title="Title " * 90, label="gemini · model"))
    edge = sheet.crop((sheet.width - 20, 0, *sheet.size))
    assert colours(edge) == {tuple(bytes.fromhex(PAPER[1:]))}


def test_a_thumbnail_grows_only_when_asked(tmp_path):
    """Previews keep small pictures small; the sheet's cells fill their box."""
    path = image_result(tmp_path, size=(40, 20)).local_path
    assert open_thumbnail(path, 100).size == (40, 20)
    assert open_thumbnail(path, 100, enlarge=True).size == (100, 50)
    assert open_thumbnail(path, 10).size == (10, 5)
    assert open_thumbnail(tmp_path / "none.png", 10) is None


def test_a_large_jpeg_is_decoded_small(tmp_path):
    """A JPEG is read at a reduced size, and its colour survives."""
    Image.new("RGB", (2400, 1600), (10, 120, 200)).save(tmp_path / "big.jpg")
    small = open_thumbnail(tmp_path / "big.jpg", 240)
    assert small.size == (240, 160)
    assert abs(small.getpixel((5, 5))[2] - 200) < 4


def hung(sheet, results):
    for result in results:
        sheet.hang(result)


def test_pictures_hung_as_they_come_give_the_same_bytes_as_all_at_the_end(tmp_path):
    """In any order, with one that failed in between, and made twice (the upload was retried)."""
    results = [image_result(tmp_path, index=at) for at in range(7)]
    results[3] = image_result(tmp_path, index=3, status="failed")
    sheet = ContactSheet(len(results))
    hung(sheet, [results[at] for at in (5, 0, 6, 2)])
    at_once = contact_sheet(results, title="T")
    assert sheet.png(results, title="T") == at_once
    assert sheet.png(results, title="T") == at_once


def test_a_picture_of_another_shape_has_all_hung_again(tmp_path):
    """The first picture's shape is a guess; a wrong one costs time, never a crooked sheet."""
    shapes = [(80, 80), (40, 80), (80, 40), (80, 80), (80, 20)]
    for first in range(len(shapes)):
        results = [image_result(tmp_path, index=at, size=size) for at, size in enumerate(shapes)]
        sheet = ContactSheet(len(results), columns=2)
        hung(sheet, [*results[first:], *results[:first]])
        assert sheet.png(results, title="T") == contact_sheet(results, title="T", columns=2)


def test_a_picture_that_was_hung_and_then_failed_is_not_shown(tmp_path):
    """Its upload failed for good: the sheet shows what the result says."""
    results = [image_result(tmp_path, index=at) for at in range(4)]
    sheet = ContactSheet(4)
    hung(sheet, results)
    results[1] = image_result(tmp_path, index=1, status="failed")
    assert sheet.png(results, title="T") == contact_sheet(results, title="T")


def test_what_cannot_be_hung_yet_is_no_error(tmp_path):
    """No file, or beyond the sheet's last cell: the end deals with it."""
    result = image_result(tmp_path)
    sheet = ContactSheet(1)
    sheet.hang(result.model_copy(update={"local_path": str(tmp_path / "none.png")}))
    sheet.hang(image_result(tmp_path, index=9))
    assert sheet.png([result], title="T") == contact_sheet([result], title="T")
