"""Which images are drawn together and when: decisions, in microseconds and without torch."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.diffusion import LoraUse
from imagemill.providers.sdxl.buckets import (
    Group,
    Waiting,
    bucket_sizes,
    choose,
    group_of,
    order,
)
from tests.builders import image_request
from tests.sdxl.asking import asked


def group(checkpoint="a", *, bucket=4, size="1K", chunks=1):
    return Group(checkpoint, (), "none", 1.0, None, "1:1", size, 30, 6.0, "euler", bucket, chunks)


groups = st.lists(
    st.builds(
        group,
        st.sampled_from("abc"),
        bucket=st.just(1),
        size=st.sampled_from(["256", "512", "1K"]),
    ),
    min_size=1,
    max_size=40,
)


@given(groups, st.sampled_from([1, 2, 4, 8]))
def test_a_group_has_the_smallest_bucket_that_holds_it(rows, most):
    """All of one group in one, on the ladder, never above the setting; only the largest may overflow."""
    sizes = bucket_sizes(rows, most=most)
    counts = Counter(rows)
    for row, size in zip(rows, sizes, strict=True):
        assert size in (1, 2, 4, 8)
        assert size <= most
        assert size == most or counts[row] <= size
        assert size == 1 or counts[row] > size // 2
    assert all(len({s for r, s in zip(rows, sizes, strict=True) if r == row}) == 1 for row in rows)


@given(groups, st.data())
def test_one_more_row_changes_keys_only_at_a_step_of_the_ladder(rows, data):
    """Other groups keep theirs always; its own group unless it was exactly full."""
    new = data.draw(st.sampled_from(rows))
    before = bucket_sizes(rows, most=8)
    after = bucket_sizes([*rows, new], most=8)[: len(rows)]
    changed = {row for row, a, b in zip(rows, before, after, strict=True) if a != b}
    assert changed <= ({new} if Counter(rows)[new] in (1, 2, 4) else set())


@given(groups, st.sampled_from(["", "a", "b"]))
def test_each_checkpoint_is_drawn_in_one_stretch_and_the_resident_one_first(rows, resident):
    """Every image once; groups in one stretch too; then the checkpoint most images wait for."""
    places = order(rows, resident=resident)
    assert sorted(places) == list(range(len(rows)))
    ordered = [rows[at] for at in places]
    for key in (lambda row: row.checkpoint, lambda row: row):
        stretches = [
            key(row) for at, row in enumerate(ordered) if not at or key(row) != key(ordered[at - 1])
        ]
        assert len(stretches) == len(set(stretches))
    names = list(dict.fromkeys(row.checkpoint for row in ordered))
    if resident in names:
        assert names[0] == resident
        names = names[1:]
    counts = Counter(row.checkpoint for row in rows)
    assert [counts[name] for name in names] == sorted((counts[n] for n in names), reverse=True)


def test_within_a_group_the_order_is_as_given():
    rows = [group("a"), group("b"), group("a", size="512"), group("b"), group("b")]
    assert order(rows) == [1, 3, 4, 0, 2]
    assert order(rows, resident="a") == [0, 2, 1, 3, 4]


def test_what_decides_the_call_decides_the_group():
    """Words, seed and sample do not; every other thing does."""
    plain = asked()
    assert group_of(asked("a blue whale", seed=1)) == group_of(plain)
    others = [
        asked(model="second"), asked(bucket=2), asked(steps=3), asked(guidance=4), asked(size="512"),
        asked(sampler="euler_a"), asked(control="canny"), asked(strength=0.5),
        asked(loras=(LoraUse(name="ink"),)), asked(control_scale=0.5),
    ]  # fmt: skip
    assert len({group_of(each) for each in [plain, *others]}) == len(others) + 1


def test_a_request_that_nobody_completed_has_no_group():
    with pytest.raises(ValueError, match="complete it first"):
        group_of(image_request())


# --- which is next -------------------------------------------------------------------------------


def choice(waiting, *, resident=(), now_s=100.0, idle_since_s=0.0, linger_s=0.1):
    return choose(
        {row: Waiting(count, since_s) for row, (count, since_s) in waiting.items()},
        resident=frozenset(resident), now_s=now_s, idle_since_s=idle_since_s,
        linger_s=linger_s, max_wait_s=120.0,
    )  # fmt: skip


def test_nothing_waits_nothing_is_chosen():
    found = choice({})
    assert (found.group, found.wait_s) == (None, None)


def test_whoever_waited_too_long_is_next():
    """Even alone against full buckets of the resident checkpoint."""
    rare, common = group("rare"), group("a")
    waiting = {common: (40, 90.0), rare: (1, -20.1)}
    assert choice(waiting, resident=["a"]).group == rare
    assert choice({**waiting, rare: (1, -19.0)}, resident=["a"]).group == common


def test_a_full_resident_bucket_goes_at_once_the_oldest_first():
    """No lingering, whatever else waits in greater numbers."""
    old, new, other = group("a", size="512"), group("a"), group("b")
    waiting = {new: (9, 99.99), old: (4, 99.98), other: (30, 99.0)}
    assert choice(waiting, resident=["a"], idle_since_s=99.99).group == old


@pytest.mark.parametrize("idle_since_s", [0.0, 99.98])
def test_a_part_of_a_bucket_waits_a_moment_for_the_rest(idle_since_s):
    """From its first image and from when the GPU is idle, whichever is later; then it goes padded.

    An engine that was idle for an hour must not draw the first image of a batch alone.
    """
    part = group("a")
    for resident in ([], ["a"]):
        found = choice({part: (1, 99.97)}, resident=resident, idle_since_s=idle_since_s)
        assert found.group is None
        assert found.wait_s == pytest.approx(max(idle_since_s, 99.97) + 0.1 - 100)
        later = choice(
            {part: (1, 99.97)}, resident=resident, idle_since_s=idle_since_s, now_s=100.09
        )
        assert later.group == part


def test_a_lone_image_of_bucket_1_never_waits():
    """With nothing resident, with its own checkpoint resident, and on a GPU that idles on another."""
    lone = group("a", bucket=1)
    for resident in ([], ["a"], ["b"]):
        assert choice({lone: (1, 100.0)}, resident=resident, idle_since_s=50).group == lone


def test_no_checkpoint_goes_while_more_images_of_it_may_come():
    """The answer just given may be followed by the next request; then the other's turn comes."""
    other = group("b")
    found = choice({other: (12, 60.0)}, resident=["a"], idle_since_s=99.95)
    assert found.group is None
    assert found.wait_s == pytest.approx(0.05)
    assert choice({other: (12, 60.0)}, resident=["a"], idle_since_s=99.85).group == other


def test_what_there_is_of_the_resident_checkpoint_goes_before_a_change():
    part, other = group("a"), group("b")
    waiting = {part: (1, 99.0), other: (12, 60.0)}
    assert choice(waiting, resident=["a"], idle_since_s=99).group == part


def test_a_change_is_to_the_checkpoint_most_wait_for():
    """Counted over its groups; of them the fullest."""
    waiting = {
        group("b"): (5, 60.0), group("c"): (4, 60.0), group("c", size="512"): (3, 60.0),
    }  # fmt: skip
    assert choice(waiting, resident=["a"]).group == group("c")
    assert choice(waiting).group == group("c")


@given(
    st.dictionaries(
        st.builds(group, st.sampled_from("abc"), bucket=st.sampled_from([1, 2, 4])),
        st.tuples(st.integers(1, 9), st.floats(0, 100)),
        min_size=1,
    ),
    st.sets(st.sampled_from("abc"), max_size=2),
    st.floats(0, 100),
)
def test_somebody_is_drawn_after_a_moment_at_the_latest(waiting, resident, idle_since_s):
    """It never waits longer than it lingers, and waiting so long leads to a choice."""
    found = choice(waiting, resident=resident, idle_since_s=idle_since_s)
    if found.group is None:
        assert 0 < found.wait_s <= 0.1 + 1e-9
        found = choice(waiting, resident=resident, idle_since_s=idle_since_s, now_s=100.11)
    assert found.group in waiting
