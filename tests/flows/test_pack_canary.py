"""No word of a pack or an animation appears in a log, a name, an event or an exception (T6)."""

import asyncio

import pytest

from imagemill.errors import ImagemillError
from tests.asset.builders import opinion
from tests.flows.test_canary import (
    CANARY,
    everything,  # noqa: F401 - a fixture
    silent,
    told_to_the_server,
    whole,
)

PACK = f"""
pack: quiet
style_guide: {{artStyle: hand_drawn, mood: "sad {CANARY}"}}
defaults: {{size: 64, purpose: "a {CANARY}"}}
maxIterations: 1
assets:
  - {{name: one, description: "a potion of {CANARY} 1"}}
  - {{name: two, description: "a chest of {CANARY} 2"}}
  - {{name: three, description: "a key of {CANARY} 3", category: ui, states: [normal, hover]}}
animations:
  - {{name: film, description: "a fox of {CANARY} 4", motion: "{CANARY} walk", frames: 3}}
  - {{name: torn, description: "an owl of {CANARY} 5", frames: 3, poses: ["{CANARY}", up, down]}}
"""


def run(pack, **fields):
    from flows.pack import generate_pack

    return asyncio.run(generate_pack(pack=pack, judge="gemini", refiner="rules", **fields))


def test_no_log_name_or_event_holds_a_word_of_a_pack(mill, everything, capfd, tmp_path):  # noqa: F811
    """An asset that is blocked, a frame that is refused, a pack that is judged unparsably."""

    def writer(body):
        text = "".join(part.get("text", "") for part in body["contents"][0]["parts"])
        return f"not JSON, {CANARY}" if "contact sheet" in text else opinion(95)

    mill.fake.script(
        writer=writer, size_px=128, noise=True,
        faults=[
            {"kind": "prompt_blocked", "prompt": f"chest of {CANARY} 2"},
            {"kind": "bad_request", "prompt": "frame 2 of 3: up"},
        ],
    )  # fmt: skip
    found = run(PACK, output_dir=str(tmp_path))
    films = {film["name"]: film for film in found["animations"]}
    assert films["torn"]["status"] == "failed"
    assert found["failure_count"] >= 2
    assert found["consistency"]["not_judged"]
    printed = capfd.readouterr()
    assert len(everything.lines) > 200
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    silent(told_to_the_server(found["run_id"], tasks_told=20), "the server")


@pytest.mark.parametrize(
    "pack",
    [
        PACK.replace("frames: 3, poses", "frames: 4, poses"),
        PACK.replace("maxIterations: 1", f"maxIterations: {CANARY}"),
        PACK.replace("pack: quiet", f"pack: quiet\n{CANARY}: 1"),
        PACK.replace("assets:", f"assets: [{CANARY}"),
        {"pack": "quiet", "assets": [{"name": "one", "description": 7, CANARY: CANARY}]},
        {"pack": CANARY + "/..", "assets": [{"name": "one", "description": CANARY}]},
        CANARY,
        7,
    ],
)
def test_no_refusal_at_the_door_holds_a_word(mill, everything, capfd, pack):  # noqa: F811
    """Each is refused in our words, before anything is sent or written."""
    with pytest.raises(ImagemillError) as refused:
        run(pack)
    silent(whole(refused.value), "the exception")
    printed = capfd.readouterr()
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    assert mill.fake.stats.requests == 0


def test_no_refusal_of_an_animation_holds_a_word(mill, everything, capfd):  # noqa: F811
    """The animation flow's own door."""
    from flows.animation import generate_animation

    figure = {"id": "x", "name": "x", "description": f"a {CANARY}"}
    wrong = ({"frames": 2}, {"poses": [CANARY]}, {"motion": 5}, {"style_guide": CANARY},
             {"request": {**figure, CANARY: 1}}, {"frame_ms": CANARY})  # fmt: skip
    for fields in wrong:
        with pytest.raises(ImagemillError) as refused:
            asyncio.run(generate_animation(**{"request": figure, **fields}))
        silent(whole(refused.value), f"the exception for {sorted(fields)}")
    silent("\n".join(everything.lines), "a log")
    printed = capfd.readouterr()
    silent(printed.out + printed.err, "the terminal")
