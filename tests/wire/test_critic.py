"""The fakes of the asset loop are worth asking: the critic sees what is planted, the artist keeps its habits."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.unit import planted
from tests.wire import critic
from tests.wire.artist import HABITS, Artist

QUESTION = '"artStyle": "{style}" SIZE IN THE GAME: 256x256 pixels'
SPRITES = ("fox", "robot", "mushroom", "dragon", "key", "apple", "owl", "crown")
PLANTED = {
    "opaque corners": planted.opaque_corners,
    "halo": planted.halo,
    "wrong size": planted.wrong_size,
    "blur": lambda p: planted.blur(p, 3.0),
    "noise": lambda p: planted.noise(p, 25.0),
    "checkerboard": planted.checkerboard,
    "stray pixels": planted.stray_pixels,
    "blank": planted.blank,
    "cropped": planted.cropped,
    "65 colours": planted.sixty_five_colours,
}


def seen(picture: np.ndarray, style: str = "hand_drawn") -> list[str]:
    return [
        advice for _, advice in critic.faults(picture.astype(float), QUESTION.format(style=style))
    ]


@pytest.mark.parametrize("name", SPRITES)
def test_the_critic_finds_no_fault_with_a_clean_sprite(name):
    """It would send the loop on for ever."""
    assert seen(planted.sprite(name, outline=1.2)) == []
    assert seen(planted.pixel_sprite(name), "pixel_art") == []


@pytest.mark.parametrize("defect", PLANTED)
def test_the_critic_sees_every_planted_defect(defect):
    """In most sprites, with an alpha that nobody has mended."""
    pixel = defect == "65 colours"
    sprites = [
        planted.pixel_sprite(n) if pixel else planted.sprite(n, outline=1.2) for n in SPRITES
    ]
    found = sum(
        bool(seen(PLANTED[defect](s), "pixel_art" if pixel else "hand_drawn")) for s in sprites
    )
    print(f"{defect}: {found} of {len(sprites)}")
    assert found >= 6


SPOKEN = ("the border", "that fringe", "fewer colors", "the size", "the focus", "the grain",
          "no checkerboard", "the specks", "nothing there", "the margin")  # fmt: skip


@pytest.mark.parametrize(("habit", "words"), list(zip(HABITS, SPOKEN, strict=True)))
def test_a_habit_is_kept_until_the_prompt_speaks_of_it(habit, words):
    """More words mend nothing, nor do words that were there from the first; those about it do."""
    artist = Artist({"a fox": ("fox", habit)})
    first = (
        "SUBJECT: a fox\n- Background: one perfectly flat #FF00FF color, no checkerboard, sharp, "
        "crisp edges, clean shapes, 12 colors, 256 px in size, nothing cropped"
    )
    drawn = [artist(first), artist(f"{first}\nPlease, once more and with love."), artist(first)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert artist(f"{first}\nMind {words}.") != drawn[0]


def test_the_critic_answers_in_the_schema():
    """Five criteria, and advice."""
    file = BytesIO()
    Image.fromarray(planted.blank(planted.sprite("fox"))).save(file, "PNG")
    encoded = base64.urlsafe_b64encode(file.getvalue()).decode()
    said = critic.judged(QUESTION.format(style="ui"), encoded)
    assert all(f'"{name}"' in said for name in critic.CRITERIA)
