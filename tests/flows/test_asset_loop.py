"""The asset loop end to end, over HTTP, with a painter, a judge and a refiner that are not scripted."""

import pytest

from tests.flows.assets import GUIDE, billed_by, charged, make, scores
from tests.wire import critic
from tests.wire.artist import HABITS, Artist

SPRITES = ("fox", "robot", "knight", "mushroom", "dragon", "key", "apple", "owl", "crown", "car")
SIDE = {"width": 256, "height": 256}


def orders(words, habits) -> tuple[list[dict], dict[str, tuple[str, str]]]:
    """One asset a habit, and what the artist knows of them."""
    requests, subjects = [], {}
    for habit, sprite, text in zip(habits, SPRITES, words(len(habits), "a creature"), strict=False):
        name = habit.replace(" ", "-")
        requests.append(
            {"id": name, "category": "sprite", "name": name, "description": text, "size": SIDE}
        )
        subjects[text] = (sprite, habit)
    return requests, subjects


@pytest.mark.timeout(400)
def test_planted_defects_are_mended_by_the_loop(mill, words, tmp_path):
    """Of ten kinds of defect at least eight reach 90 within five pictures; the bill is the calls'."""
    requests, subjects = orders(words, [habit for habit in HABITS if habit != "65 colours"])
    pixel, its_subject = orders(words, ["65 colours"])
    artist = Artist({**subjects, **its_subject})
    mill.fake.script(painter=artist, writer=critic.write)
    found = make(requests, style_guide=GUIDE, output_dir=str(tmp_path / "out"))
    pixels = make(pixel, style_guide={"artStyle": "pixel_art"}, output_dir=str(tmp_path / "out"))
    results = [*found["results"], *pixels["results"]]
    for result in results:
        path = " → ".join(f"{score:g}" for score in scores(result))
        print(f"{result['requestId']:16} {path:32} {result['metadata']['stopped'][:60]}")
    converged = [r for r in results if r["metadata"]["final_score"] >= 90]
    print(f"{len(converged)} of {len(results)} converge; {found['cost_summary']}")
    assert len(results) == 10
    assert len(converged) >= 8
    assert sum(r["metadata"]["total_iterations"] > 1 for r in converged) >= 5
    assert charged(mill) == billed_by(mill.fake)


def test_without_what_the_refiner_says_nothing_is_mended(mill, words, tmp_path):
    """The control: the same painter and judge, and a refiner that gives the prompt back as it was."""
    requests, subjects = orders(words, ["blur", "checkerboard", "cropped"])

    def writer(body):
        asked = body["contents"][0]["parts"]
        if any("inlineData" in part for part in asked):
            return critic.write(body)
        return critic.refined(asked[0]["text"]).partition("This time take care")[0]

    mill.fake.script(painter=Artist(subjects), writer=writer)
    found = make(
        requests, max_iterations=2, point_worth_usd=None, output_dir=str(tmp_path),
    )  # fmt: skip
    assert all(len(scores(result)) == 2 for result in found["results"])
    assert all(result["metadata"]["final_score"] < 90 for result in found["results"])
