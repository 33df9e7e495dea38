"""Packs and animations end to end: by the sketch provider, and by the fake Gemini with its bill."""

import asyncio
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.asset.builders import opinion
from tests.flows.assets import GUIDE, billed_by, charged
from tests.unit import motion, planted
from tests.wire import critic

PACK = """
pack: small
style_guide:
  artStyle: pixel_art
  colorPalette: ["#3b5dc9", "#38b764", "#ef7d57", "#ffcd75", "#1a1c2c", "#41a6f6", "#f4f4f4"]
  pixelDensity: 32x32
defaults: {size: 128, category: items}
maxIterations: 1
assets:
  - {name: potion, description: a green potion}
  - {name: chest, description: a treasure chest}
  - {name: mushroom, description: a red mushroom}
  - {name: play, category: ui, description: a golden key, states: [normal, pressed]}
animations:
  - {name: fox, category: characters, description: a red fox, frames: 4}
"""


def run(pack: str, **fields):
    from flows.pack import generate_pack

    return asyncio.run(generate_pack(pack=pack, **fields))


@pytest.mark.timeout(300)
def test_a_pack_is_made_looked_at_and_shown(mill, tmp_path):
    """Every asset, every state and every frame is a file; the page, the sheet and the atlas stand."""
    out = tmp_path / "out"
    found = run(
        PACK, provider="sketch", judge="pixels", refiner="rules", output_dir=str(out), seed=3
    )
    assert found["failure_count"] == 0
    assert found["total"] == 9
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.suffix != ".png") == [
        "characters/fox.gif", "characters/fox_0.json", "characters/fox_1.json",
        "characters/fox_2.json", "characters/fox_3.json", "characters/fox_sheet.json",
        "items/chest.json", "items/mushroom.json", "items/potion.json", "report.html",
        "ui/play_normal.json", "ui/play_pressed.json",
    ]  # fmt: skip
    ((film),) = found["animations"]
    assert film["outliers"] == []
    atlas = json.loads(Path(film["atlas_path"]).read_text())
    sheet = np.asarray(Image.open(film["sheet_path"]))
    box = atlas["frames"]["fox_sheet 2.png"]["frame"]
    frame = np.asarray(Image.open(out / "characters" / "fox_2.png"))
    cut = sheet[box["y"] : box["y"] + box["h"], box["x"] : box["x"] + box["w"]]
    assert np.array_equal(cut, frame)
    assert found["consistency"]["off_style"] == []
    assert found["consistency"]["duplicates"] == []
    page = Path(found["page_path"]).read_text("utf-8")
    assert page.count('<li class="card') == 5
    again = run(
        PACK, provider="sketch", judge="pixels", refiner="rules", output_dir=str(out), seed=3
    )
    assert again["from_cache_count"] == 9


class Animator:
    """Paints a figure's frames as asked; one of them comes out strange the first time."""

    def __init__(self, strange: int) -> None:
        self.frames = motion.animation("dog", "bob", size_px=256, seed=9)
        self.strange, self.asked = strange, []

    def __call__(self, prompt: str) -> bytes:
        key = tuple(bytes.fromhex(re.search(r"perfectly flat #([0-9A-F]{6})", prompt)[1]))
        number = int(re.search(r"frame (\d) of 8", prompt)[1])
        picture = self.frames[number - 1]
        if number == self.strange and number not in self.asked:
            picture = motion.other_colours(picture, 1)
        self.asked.append(number)
        out = BytesIO()
        Image.fromarray(planted.over(picture, key)).convert("RGB").save(out, "PNG")
        return out.getvalue()


@pytest.mark.timeout(300)
def test_only_the_frame_that_drifts_is_paid_again(mill, words, tmp_path):
    """Eight frames, the fifth strange: nine pictures are drawn, and nine are on the bill."""
    from flows.animation import generate_animation

    artist = Animator(strange=5)
    mill.fake.script(painter=artist, writer=critic.write)
    (text,) = words(1, "a dog")
    request = {
        "id": "dog", "name": "dog", "description": text, "size": {"width": 256, "height": 256}
    }  # fmt: skip
    found = asyncio.run(
        generate_animation(
            request=request, frames=8, style_guide=GUIDE, output_dir=str(tmp_path / "out")
        )
    )
    assert sorted(artist.asked) == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    (film,) = found["animations"]
    assert film["referenced"]
    shown = [
        len([part for part in body["contents"][0]["parts"] if "inlineData" in part])
        for _, body in mill.fake.last
        if "frame" in json.dumps(body) and "imageConfig" in json.dumps(body)
    ]
    assert sorted(shown) == [0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert film["outliers"] == []
    assert [(one["frame"], one["why"], one["attempts"]) for one in film["redone"]] == [
        (4, "colours", 2)
    ]
    assert found["cost_summary"]["images_generated"] == 9
    assert charged(mill) == billed_by(mill.fake)
    assert Image.open(film["gif_path"]).n_frames == 8


@pytest.mark.timeout(300)
def test_the_judge_names_who_is_off_style_and_is_on_the_bill(mill, tmp_path):
    """A model that looks at the sheet names the third; an answer it did not give is no verdict."""
    said = {
        "assets": [
            {"number": n, "consistency": 30 if n == 3 else 95, "remark": "As seen."}
            for n in range(1, 6)
        ],
        "off_style": [3, 99],
        "summary": "One is not like the others.",
    }
    answers = iter([json.dumps(said), "no JSON"])

    def writer(body):
        text = "".join(part.get("text", "") for part in body["contents"][0]["parts"])
        return next(answers) if "contact sheet" in text else opinion(95)

    mill.fake.script(writer=writer)
    fields = {"provider": "sketch", "judge": "gemini", "refiner": "rules", "reuse_within_s": 0}
    found = run(PACK, output_dir=str(tmp_path / "out"), **fields)
    fit = found["consistency"]
    assert fit["off_style"] == ["items/mushroom"]
    assert fit["score"] == 82.0
    assert found["cost_summary"]["vision_calls"] == 7
    assert charged(mill) == billed_by(mill.fake)
    again = run(PACK, output_dir=str(tmp_path / "more"), **fields, seed=5)
    assert again["consistency"]["judgement"] is None
    assert "does not speak of each" in again["consistency"]["not_judged"]
    assert again["consistency"]["off_style"] == []
