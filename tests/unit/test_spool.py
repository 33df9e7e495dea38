"""Files are whole or absent, folders are proven before anything is paid, readable names come out."""

from pathlib import Path

import pytest

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.errors import ArtifactError
from imagemill.spool import Spool, check_output_folder, hand_out, write_durably
from tests.builders import payment
from tests.unit.small_workshop import unwritable

DATA = b"a picture, paid"
KEY = "c" * 64
FULL = Path("/dev/full")


def note():
    artifact = ArtifactRef(digest=digest_of(DATA), size_bytes=len(DATA), width_px=8, height_px=8)
    return payment(artifact=artifact)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "home")
    made.check()
    return made


def test_an_answer_kept_is_found_with_its_price_and_shelved_by_digest(spool):
    """A later process reads back what it cost, charges it, and puts it where it is looked for."""
    kept = spool.keep(KEY, 7, DATA, note())
    found = spool.find(KEY, 7)
    assert found == kept
    place = spool.shelve(found)
    assert place == spool.image_path(note().artifact)
    assert place.read_bytes() == DATA
    assert spool.find(KEY, 7) is None


def test_another_reservations_answer_is_not_taken(spool):
    """One key may be paid twice (on request): each answer belongs to its own reservation."""
    spool.keep(KEY, 7, DATA, note())
    assert spool.find(KEY, 8) is None


@pytest.mark.parametrize("damage", ["cut", "no note", "half a note", "no picture"])
def test_a_half_written_answer_is_no_answer(spool, damage):
    """After a power cut nothing broken is charged or shown."""
    path = spool.keep(KEY, 7, DATA, note()).path
    beside = path.with_suffix(".json")
    match damage:
        case "cut":
            path.write_bytes(DATA[:-3])
        case "no note":
            beside.unlink()
        case "half a note":
            beside.write_text(beside.read_text()[:20])
        case "no picture":
            path.unlink()
    assert spool.find(KEY, 7) is None


def test_a_file_is_replaced_in_one_step(tmp_path):
    """Readers see the old file or the new one; nothing else stays in the folder."""
    target = tmp_path / "deep" / "page.html"
    write_durably(target, b"old")
    write_durably(target, b"new")
    assert target.read_bytes() == b"new"
    assert names_in(target.parent) == ["page.html"]


def test_a_home_that_cannot_be_written_is_refused_before_anything_is_paid(tmp_path):
    """The error names the folder and the variable to set."""
    home = tmp_path / "home"
    with unwritable(home), pytest.raises(ArtifactError, match="IMAGEMILL_HOME") as refused:
        Spool(home).check()
    assert str(home) in str(refused.value)


@pytest.mark.skipif(not FULL.exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path, monkeypatch):
    """ENOSPC in the system's own words."""

    real = Path.open

    def full(self, *_args, **_kwargs):
        return real(FULL, "wb", buffering=0)

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write_durably(tmp_path / "file", b"x" * 100)
    assert names_in(tmp_path) == []


def test_a_picture_is_handed_out_under_a_readable_name(spool, tmp_path):
    """And again under the same name, when a run is repeated."""
    place = spool.shelve(spool.keep(KEY, 7, DATA, note()))
    for _ in range(2):
        target = hand_out(place, tmp_path / "out", "0001-abc.png")
        assert target.read_bytes() == DATA
    assert names_in(tmp_path / "out") == ["0001-abc.png"]


def test_editing_what_was_handed_out_leaves_the_kept_picture_alone(spool, tmp_path):
    """A retouched file in the output folder must not become what the next run reuses."""
    place = spool.shelve(spool.keep(KEY, 7, DATA, note()))
    with hand_out(place, tmp_path / "out", "1.png").open("r+b") as file:
        file.write(b"RETOUCHED")
    assert place.read_bytes() == DATA


def test_an_output_folder_that_cannot_be_written_is_named(spool, tmp_path):
    """At the door and at the hand-out alike: --out is what must change."""
    place = spool.shelve(spool.keep(KEY, 7, DATA, note()))
    out = tmp_path / "out"
    with unwritable(out):
        for refused in (
            lambda: check_output_folder(out / "below"),
            lambda: hand_out(place, out, "1.png"),
        ):
            with pytest.raises(ArtifactError, match="--out"):
                refused()
    check_output_folder(out)
    assert names_in(out) == []


def test_bytes_that_come_back_from_the_store_are_kept(spool):
    """A machine that did not make the image has it from then on."""
    path = spool.adopt(note().artifact, DATA)
    assert path == spool.image_path(note().artifact)
    assert path.read_bytes() == DATA


def test_twins_that_shelve_one_picture_agree(spool):
    """Two runs that find the same paid picture at the same moment both get it; neither fails."""
    kept = spool.keep(KEY, 7, DATA, note())
    assert spool.shelve(kept) == spool.shelve(kept)
    spool.image_path(kept.payment.artifact).unlink()
    with pytest.raises(ArtifactError, match="paid and not paid again"):
        spool.shelve(kept)
