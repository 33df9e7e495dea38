"""Rows through the whole flow: settings of their own, refused by number, resumed as they were."""

import asyncio

import httpx
import pytest

from imagemill.errors import ImagemillError
from tests.flows.test_canary import CANARY, silent, told_to_the_server


def test_each_row_is_drawn_with_what_it_has_of_its_own(mill, words):
    """Style, seed and shape are the row's, the rest the batch's; the manifest says so."""
    plain, own = words(2)
    row = {"prompt": own, "style_name": "Watercolor", "seed": 7, "aspect_ratio": "2:3"}
    result = mill.run([plain, row], provider="sketch", size="256", style_name="Pixel Art")
    first, second = result["results"]
    assert [first["style_name"], second["style_name"]] == ["Pixel Art", "Watercolor"]
    assert (second["seed"], second["width_px"] < second["height_px"]) == (7, True)
    assert first["width_px"] == first["height_px"]
    manifest = httpx.get(result["manifest_url"]).json()
    assert [image["request"]["style"] for image in manifest["images"]] == [
        "Pixel Art",
        "Watercolor",
    ]
    assert "Watercolor" in httpx.get(result["gallery_url"]).text
    assert result["style_name"] == "Pixel Art, Watercolor"


def test_a_batch_with_rows_is_finished_by_resume(mill, words):
    """What is made is reused under the row's own key; the rest is drawn as its row says."""
    from flows.resume import resume_run

    one, two = words(2)
    rows = [{"prompt": one, "aspect_ratio": "16:9"}, {"prompt": two, "style_name": "Watercolor"}]
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 2 of"}])
    first = mill.run(rows)
    assert [entry["status"] for entry in first["results"]] == ["made", "failed"]
    mill.fake.script(faults=[])
    again = asyncio.run(resume_run(run=first["run_id"]))
    assert [entry["status"] for entry in again["results"]] == ["reused", "made"]
    assert [e["key"] for e in again["results"]] == [e["key"] for e in first["results"]]
    assert mill.run(rows)["reused_count"] == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"style_name": "Nonesuch"}, "prompt 12 style_name: .*Nonesuch.*Pixel Art"),
        ({"seed": -1}, "prompt 12 seed: .*0"),
        ({"weight": 3}, "prompt 12 weight: Extra inputs"),
        ({"references": ["/etc/passwd"]}, "prompt 12 references: .*may be read"),
        ({"model": "gemini-0"}, "prompt 12 model: .*gemini-0.*gemini-nano-banana"),
        ({"diffusion": {"steps": 9}}, "prompt 12: .*no diffusion settings.*sdxl"),
    ],
)
def test_a_row_that_cannot_be_made_is_refused_before_anything_is_paid(mill, words, row, said):
    """With its number and the field, never with its words; no run is begun."""
    *plain, last = words(12)
    with pytest.raises(ImagemillError, match=f"(?s){said}") as refused:
        mill.run([*plain, {"prompt": last, **row}])
    assert last not in str(refused.value)
    assert mill.fake.stats.requests == 0
    assert (mill.rows("SELECT id FROM runs") if mill.has_ledger() else []) == []


def test_the_words_of_rows_are_told_to_nobody(mill, words):
    """Neither to the log nor to Prefect; a row's own negative prompt is words, too."""
    rows = [{"prompt": f"{CANARY} {word}", "negative_prompt": CANARY} for word in words(2)]
    result = mill.run(rows, provider="sketch", size="256")
    silent(told_to_the_server(result["run_id"], tasks_told=2), "the Prefect server")
    silent(str(mill.rows("SELECT type, data FROM run_events")), "the ledger's events")


def test_a_provider_is_asked_in_the_order_it_likes(mill, words, monkeypatch):
    """The first on the wire is the one that it wants first; results stay in the order of the list."""
    from imagemill.providers.sketch import SketchProvider

    def backwards(_provider, requests):
        return range(len(requests) - 1, -1, -1)

    monkeypatch.setattr(SketchProvider, "order", backwards, raising=False)
    prompts = words(3)
    result = mill.run(prompts, provider="sketch", size="256", max_concurrent=1)
    assert [entry["prompt"] for entry in result["results"]] == prompts
    asked = [key for (key,) in mill.rows("SELECT key FROM reservations ORDER BY id")]
    assert asked[0] == result["results"][-1]["key"]
