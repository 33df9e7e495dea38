"""Technical checks find every planted defect and raise no false alarm: a confusion table."""

import numpy as np
import pytest

from imagemill.quality import CheckSpec, technical_checks
from tests.unit import planted

DRAWINGS = (
    "fox",
    "robot",
    "mushroom",
    "key",
    "dragon",
    "house",
    "cactus",
    "ghost",
    "crab",
    "wizard",
)
PIXEL_ART = ("knight", "potion", "chest", "rocket", "apple")
CLEAN = {
    **{name: planted.sprite(name, outline=i % 2 * 1.2) for i, name in enumerate(DRAWINGS)},
    **{f"{name} (pixels)": planted.pixel_sprite(name) for name in PIXEL_ART},
}
HARD = frozenset(name for name in CLEAN if name.endswith("(pixels)"))
SMOOTH = frozenset(CLEAN) - HARD

UNLINED = frozenset(name for i, name in enumerate(DRAWINGS) if i % 2 == 0)
"""Without a dark contour, on which a dark fringe cannot be seen."""

PLANTED: dict[str, tuple[planted.Defect, str, frozenset[str]]] = {
    "opaque corners": (planted.opaque_corners, "border_transparency", frozenset(CLEAN)),
    "white halo": (planted.halo, "halo", SMOOTH - {"ghost"}),  # white on a white ghost is no fringe
    "dark halo": (planted.dark_halo, "halo", UNLINED),
    "65 colours": (planted.sixty_five_colours, "colour_count", HARD),
    "wrong size": (planted.wrong_size, "size", frozenset(CLEAN)),
    "blur": (planted.blur, "sharpness", frozenset(CLEAN)),
    "blur inside a crisp outline": (planted.blur_inside, "sharpness", frozenset(CLEAN)),
    "noise": (planted.noise, "noise", SMOOTH),
    "noise on blur": (lambda p: planted.noise(planted.blur(p)), "sharpness", SMOOTH),
    "noise in pixel art": (planted.noise, "colour_count", HARD),
    "checkerboard": (planted.checkerboard, "checkerboard", frozenset(CLEAN)),
    "stray pixels": (planted.stray_pixels, "stray_pixels", frozenset(CLEAN)),
    "blank": (planted.blank, "blank", frozenset(CLEAN)),
    "nothing at all": (planted.empty, "coverage", frozenset(CLEAN)),
    "cropped subject": (planted.cropped, "clipped", frozenset(CLEAN)),
    "no alpha": (planted.opaque, "alpha_present", frozenset(CLEAN)),
}  # fmt: skip


def failed(picture: np.ndarray, name: str) -> set[str]:
    """Names of the failed checks of a 256 px asset."""
    spec = CheckSpec(size=(256, 256), pixel_art=name in HARD)
    return {check.name for check in technical_checks(picture, spec) if not check.passed}


@pytest.fixture(scope="module")
def table() -> dict[str, tuple[int, int]]:
    """For each defect: found by the check that is for it, of how many planted."""
    rows = {
        defect: (sum(check in failed(plant(CLEAN[name]), name) for name in names), len(names))
        for defect, (plant, check, names) in PLANTED.items()
    }
    for defect, (found, planted_count) in rows.items():
        print(f"{defect:30} found {found:2} of {planted_count:2} by {PLANTED[defect][1]}")
    return rows


def test_every_planted_defect_is_found(table):
    """The check that is for a defect finds it in every sprite it was planted in."""
    assert {defect: row for defect, row in table.items() if row[0] != row[1]} == {}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_sprite_raises_no_alarm(name):
    """A sprite without a defect fails no check."""
    assert failed(CLEAN[name], name) == set()


@pytest.mark.parametrize("plant", [planted.stray_pixels, planted.halo, planted.wrong_size])
def test_a_defect_raises_only_its_own_alarm(plant):
    """What is right with a sprite is not called wrong because something else is."""
    check = {d[0]: d[1] for d in PLANTED.values()}[plant]
    assert failed(plant(CLEAN["fox"]), "fox") == {check}


def test_a_failed_check_says_what_to_do_and_a_passed_one_does_not():
    """Each check carries its value, its threshold and, if failed, a remedy."""
    checks = technical_checks(planted.checkerboard(CLEAN["fox"]), CheckSpec())
    assert {check.name for check in checks if not check.passed} >= {"checkerboard", "coverage"}
    for check in checks:
        assert bool(check.remedy) is not check.passed
        assert check.threshold is not None


def test_noise_does_not_buy_sharpness():
    """Grain on a blurred picture leaves it blurred (variance of the Laplacian alone rewards it)."""
    blurred = planted.blur(CLEAN["fox"])
    assert "sharpness" in failed(blurred, "fox")
    assert "sharpness" in failed(planted.noise(blurred, 25.0), "fox")


def test_light_grain_is_not_a_defect():
    """A drawing with paper's grain (sigma 3) is clean."""
    assert failed(planted.noise(CLEAN["robot"], 3.0), "robot") == set()
