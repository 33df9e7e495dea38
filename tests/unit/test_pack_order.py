"""A pack's file becomes orders, or says which line is wrong; it never repeats a description."""

import traceback

import pytest

from imagemill.errors import RequestError
from imagemill.pack.reading import MAX_NODES, read_pack

CANARY = "canary in a coal mine"
GOOD = f"""\
pack: forest-quest
style_guide:
  artStyle: pixel_art
  colorPalette: ["#3B5DC9", "#38B764"]
  pixelDensity: 48x48
defaults: {{category: items, size: 256}}
targetScore: 85
assets:
  - name: potion
    description: a green potion, {CANARY}
  - name: shield
    category: gear
    size: 128x64
    description: a shield, {CANARY}
  - name: play
    category: ui
    description: a play button, {CANARY}
    states: [normal, hover, pressed]
  - {{name: coin, description: a coin, frames: 4}}
animations:
  - name: fox_walk
    category: characters
    description: a fox, {CANARY}
    frames: 3
    motion: walk cycle
    poses: [left foot, together, right foot]
"""


def test_a_pack_becomes_orders_in_its_own_order():
    """Defaults fill gaps, states are pictures of their own, frames make an animation."""
    pack = read_pack(GOOD)
    found = pack.requests()
    assert [request.id for request in found] == [
        "items/potion", "gear/shield", "ui/play_normal", "ui/play_hover", "ui/play_pressed",
    ]  # fmt: skip
    assert (found[0].size.width, found[0].size.height) == (256, 256)
    assert (found[1].size.width, found[1].size.height) == (128, 64)
    assert found[3].description.endswith("state: hover")
    coin, walk = pack.animated()
    assert (coin.frames, walk.frames, walk.asset.id) == (4, 3, "characters/fox_walk")
    assert "frame 2 of 3: together" in walk.frame(1).description
    assert "reference" in walk.frame(1).description
    assert "reference" not in walk.frame(0).description
    assert pack.target_score == 85


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("pixelDensity: 48x48", "pixelDensity: tiny"), "line 5: style_guide.pixelDensity"),
        (("size: 128x64", "size: 3x64"), "line 13: assets[2].size.width: Input should be greater"),
        (("    states: [normal", "    states: [No Way"), "line 18: assets[3].states[1]"),
        (("frames: 4}", "frames: 2}"), "line 19: assets[4]: frames: 1, or 3 and more"),
        (("    motion: walk cycle", f"    {CANARY}: x"), "line 25: a field that is not known here"),
        (("poses: [left foot, ", "poses: ["), "line 21: animations[1]: poses: one for each of 3"),
        (("name: shield\n    category: gear", "name: potion\n    category: items"),
         "twice: items/potion"),
        (("name: potion", "name: ../../etc/passwd"), "line 9: assets[1].name"),
        (("targetScore: 85", "targetScore: 850"), "line 7: targetScore"),
        (('["#3B5DC9", "#38B764"]', f'["{CANARY}"]'), "line 4: style_guide.colorPalette[1]"),
        (("assets:", "assets: 7\nothers:"), "line 8: assets"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_with_what_is_allowed(change, words):
    """Line, field and rule are told; what stands there is not, neither here nor in a traceback."""
    before, after = change
    assert before in GOOD
    with pytest.raises(RequestError) as caught:
        read_pack(GOOD.replace(before, after), name="pack.yaml")
    told = "".join(traceback.format_exception(caught.value))
    assert words in caught.value.message
    assert caught.value.remedy
    assert CANARY not in caught.value.message
    assert CANARY not in told


def test_an_unknown_field_is_answered_with_the_known_ones():
    """Of the place where it stands."""
    with pytest.raises(RequestError, match=r"line 10: .*known: name, description, category, size"):
        read_pack(GOOD.replace("    description: a green", "    descr: a green", 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"pack: x\nassets:\n  - name: a\n   description: {CANARY}", "not YAML at line 4"),
        (f"pack: 'x\nassets: {CANARY}", "not YAML"),
        ("", "must hold fields"),
        (f"- {CANARY}", "must hold fields"),
        ("pack: x\npack: y\nassets: []", "twice at line 2"),
        (f"pack: !!python/object/apply:os.system ['{CANARY}']", "tag or a value"),
        ("pack: x\nassets: []", "at least one"),
        (f"pack: *{CANARY.split()[0]}", "not YAML"),
        ("pack: \x00", "not YAML"),
        (b"pack: \xff\xfe\x00", "not YAML"),
        ("x" * 1_000_001, "more than 1,000,000 bytes"),
        ("[" * 5000, "not YAML"),
    ],
)  # fmt: skip
def test_what_is_no_pack_is_refused(text, words):
    """Broken, empty, hostile or huge: one sentence and a remedy, no code run, no text repeated."""
    with pytest.raises(RequestError, match=words) as caught:
        read_pack(text)
    assert caught.value.remedy
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_bomb_of_aliases_is_refused():
    """Nine lines that would unfold to a billion values cost nothing."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(RequestError, match=f"more than {MAX_NODES:,} values"):
        read_pack("\n".join(lines))
