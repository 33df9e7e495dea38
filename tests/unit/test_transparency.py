"""Cut-outs against sprites whose alpha is known, pixel by pixel."""

import numpy as np
import pytest

from imagemill.quality import CheckSpec, technical_checks
from imagemill.quality.alpha import halo
from imagemill.transparency import clean_alpha, cut_out, on_white
from tests.unit import planted


@pytest.fixture(scope="module")
def mean_iou() -> dict[str, float]:
    """Mean IoU of ten sprites on each kind of background, without a segmenter."""
    means = {}
    for kind in planted.BACKDROPS:
        pairs = [planted.on_backdrop(kind, i) for i in range(10)]
        means[kind] = float(np.mean([planted.iou(cut_out(p).picture, t) for t, p in pairs]))
        print(f"{kind:10} mean IoU {means[kind]:.4f}")
    return means


@pytest.mark.parametrize(("kind", "least"), [("plain", 0.97), ("gradient", 0.97), ("shadow", 0.93)])
def test_a_plain_background_is_cut_without_a_model(mean_iou, kind, least):
    """Forty sprites were drawn by code; on plain ground the cut is at least 97 % theirs."""
    assert mean_iou[kind] >= least


def test_a_scene_without_a_segmenter_is_not_cut_and_says_so():
    """No shape is made up: the picture stays opaque, and the checks fail."""
    for index in range(10):
        _, picture = planted.on_backdrop("scene", index)
        cut = cut_out(picture)
        assert cut.method == "uncut"
        assert not cut.passed
        assert cut.facts.plain_share < 0.9
        assert (cut.picture[..., 3] == 255).all()


class Oracle:
    """Knows the truth, roughly: as a model at 320 px does."""

    name = "oracle"

    def __init__(self, truth):
        self.truth, self.asked = truth, 0

    def mask(self, picture):
        self.asked += 1
        return planted.blur(self.truth, 2.0)[..., 3]


def test_a_scene_is_cut_along_the_segmenters_mask():
    """Its rough mask is moved to the picture's own edges and the edge colours are cleaned."""
    for index in range(10):
        truth, picture = planted.on_backdrop("scene", index)
        cut = cut_out(picture, Oracle(truth))
        assert (cut.method, cut.facts.segmenter) == ("segmenter", "oracle")
        assert planted.iou(cut.picture, truth) > 0.94


def test_a_plain_background_does_not_ask_the_segmenter():
    """What needs no model costs none."""
    truth, picture = planted.on_backdrop("plain", 4)
    oracle = Oracle(truth)
    assert cut_out(picture, oracle).method == "flood"
    assert oracle.asked == 0


def test_a_segmenter_that_sees_nothing_leaves_an_empty_cut_that_fails():
    """An empty mask is no success."""
    truth, picture = planted.on_backdrop("scene", 0)
    cut = cut_out(picture, Oracle(np.zeros_like(truth)))
    assert "coverage" in {check.name for check in cut.facts.checks if not check.passed}


def test_the_original_is_never_changed():
    """Cutting returns a new picture."""
    for kind in planted.BACKDROPS:
        truth, picture = planted.on_backdrop(kind, 3)
        before = picture.copy()
        cut_out(picture, Oracle(truth))
        assert np.array_equal(picture, before)


def test_a_good_alpha_is_kept():
    """More than 90 % of the border transparent: only alpha below 10 is cleaned away."""
    picture = planted.sprite("fox")
    picture[0, 0] = (9, 9, 9, 9)
    cut = cut_out(picture)
    assert (cut.method, cut.passed) == ("kept", True)
    assert cut.picture[0, 0].tolist() == [0, 0, 0, 0]
    shown = picture[..., 3] >= 10
    assert np.array_equal(cut.picture[shown], picture[shown])


def test_a_poor_alpha_is_not_believed():
    """A sprite whose alpha is opaque up to half of the border is cut anew."""
    picture = planted.on_plain(planted.sprite("robot"), 0)
    picture[:, :40, 3] = 0
    cut = cut_out(picture)
    assert cut.facts.transparent_border < 0.9
    assert planted.iou(cut.picture, planted.sprite("robot")) > 0.97


def test_an_empty_alpha_is_no_good_alpha():
    """Wholly transparent is not kept as a cut-out of nothing and passed."""
    assert not cut_out(np.zeros((64, 64, 4), np.uint8)).passed


@pytest.mark.parametrize("index", range(10))
def test_no_fringe_of_the_background_is_left(index):
    """Edge pixels have the subject's colour: over another ground no line shows.

    The fox on white keeps the white between body and tail, which is enclosed.
    """
    truth, picture = planted.on_backdrop("gradient", index)
    cut = cut_out(picture)
    assert halo(cut.picture).passed
    ground = np.full((*truth.shape[:2], 3), 90.0)
    off = np.abs(
        planted.over(cut.picture, ground).astype(int) - planted.over(truth, ground).astype(int)
    ).max(axis=-1)
    assert np.percentile(off, 99) < 24


def test_a_cut_out_passes_the_technical_checks():
    """From an opaque picture to an asset that is clean."""
    _, picture = planted.on_backdrop("gradient", 0)
    cut = cut_out(picture).picture
    assert [c.name for c in technical_checks(cut, CheckSpec(size=(256, 256))) if not c.passed] == []


def test_enclosed_background_stays_unless_holes_are_opened():
    """A white belly on white stays; the gap between two legs opens on request."""
    truth, picture = planted.on_backdrop("plain", 1)  # a flamingo
    closed, opened = cut_out(picture), cut_out(picture, open_holes=True)
    assert planted.iou(opened.picture, truth) > 0.99 > planted.iou(closed.picture, truth)


def test_stray_alpha_is_cleaned_below_ten_and_the_preview_is_on_white():
    """The document's constant; the preview is opaque and white where nothing is."""
    picture = planted.sprite("fox")
    picture[2, 2], picture[2, 4] = (50, 60, 70, 9), (50, 60, 70, 10)
    cleaned = clean_alpha(picture)
    assert cleaned[2, 2].tolist() == [0, 0, 0, 0]
    assert cleaned[2, 4].tolist() == [50, 60, 70, 10]
    preview = on_white(cleaned)
    assert preview[2, 2].tolist() == [255] * 4
    assert (preview[..., 3] == 255).all()
