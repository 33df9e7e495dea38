"""How a batch is cut into shares for several workers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.planning import checked_batch
from imagemill.spreading import part_of, place_in_whole, shares


def units(count):
    return list(range(count))


@given(
    groups=st.lists(st.sampled_from("abcd"), min_size=1, max_size=60),
    workers=st.integers(1, 9),
    bucket=st.sampled_from([1, 2, 4, 8]),
)
def test_every_image_has_one_worker_and_no_group_is_torn_more_than_cuts(groups, workers, bucket):
    """Nothing lost, nothing twice; loads in all are the groups' number and at most one more a cut."""
    found = shares(groups, units(len(groups)), workers=workers, bucket=bucket)
    assert sorted(place for share in found for place in share) == units(len(groups))
    assert len(found) <= workers
    assert all(found)
    loads = sum(len({groups[place] for place in share}) for share in found)
    assert loads <= len(set(groups)) + len(found) - 1


@given(workers=st.integers(1, 8), per_group=st.integers(8, 30))
def test_shares_differ_by_at_most_a_bucket(workers, per_group):
    """No worker sits idle while another draws what it could have drawn."""
    groups = [name for name in "abc" for _ in range(per_group)]
    lengths = [
        len(share) for share in shares(groups, units(len(groups)), workers=workers, bucket=4)
    ]
    assert max(lengths) - min(lengths) <= 8


def test_whole_groups_go_to_one_worker_where_that_is_fair():
    """Three checkpoints, three workers: each loads one."""
    groups = list("abcabcabcabc")
    found = shares(groups, units(12), workers=3, bucket=4)
    assert [{groups[place] for place in share} for share in found] == [{"a"}, {"b"}, {"c"}]
    assert found[0] == [0, 3, 6, 9]


def test_what_must_stay_together_stays_together():
    """Equal prompts are samples of one another: two workers would draw the same picture."""
    found = shares(["a"] * 6, ["x", "y", "x", "y", "x", "y"], workers=2)
    assert found == [[0, 2, 4], [1, 3, 5]]


def test_fewer_images_than_workers_leave_workers_out():
    assert shares(["a"], ["x"], workers=4) == [[0]]


@pytest.mark.parametrize("samples", [1, 3])
def test_the_images_of_a_part_find_their_place_in_the_whole(samples):
    """Rows, samples and order are kept; only the whole batch tells a webhook and fills a folder."""
    rows = [
        {"prompt": f"fox {n}", "style_name": "Anime" if n % 2 else "Watercolor"} for n in range(6)
    ]
    batch = checked_batch(
        prompts=rows, samples=samples, webhook="https://example.org/x", output_dir="/tmp/x"
    )
    part = part_of(batch, [1, 4])
    assert part.prompts == ("fox 1", "fox 4")
    assert [row.style_name for row in part.rows] == ["Anime", "Watercolor"]
    assert (part.webhook, part.output_dir) == ("", "")
    places = [place_in_whole(batch, [1, 4], index) for index in range(2 * samples)]
    assert places == [*range(samples, 2 * samples), *range(4 * samples, 5 * samples)]
    assert all(first < second for first, second in pairwise(places))
