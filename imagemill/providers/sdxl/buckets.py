"""Which images are drawn together, in which order, and which bucket is next. Decisions only, no torch.

Random order over three checkpoints changes the weights on two jobs of three; grouped, a run loads
each of them once (facts/sdxl.md, 3).
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imagemill.diffusion import Control, LoraUse, Sampler
from imagemill.providers.sdxl.options import BUCKETS
from imagemill.request import ImageRequest


class Group(NamedTuple):
    """What all images of one call share. `chunks` is 0 until the words are counted in tokens."""

    checkpoint: str
    loras: tuple[LoraUse, ...]
    control: Control
    control_scale: float
    strength: float | None
    aspect_ratio: str
    size: str
    steps: int
    guidance: float
    sampler: Sampler
    bucket: int
    chunks: int = 0


def group_of(request: ImageRequest) -> Group:
    """Return the group of a completed request."""
    how = request.diffusion
    if how is None:
        raise ValueError("the request says nothing of how to draw; complete it first")
    return Group(
        request.model, how.loras, how.control, how.control_scale, how.strength,
        request.aspect_ratio, request.size, how.steps, how.guidance, how.sampler, how.bucket,
    )  # fmt: skip


def bucket_sizes(groups: Sequence[Hashable], *, most: int) -> list[int]:
    """Return for each image the bucket it is drawn in: the smallest that holds its whole group.

    A lone image is drawn alone; a group of three in four, the fourth place padded; larger groups
    in full buckets of `most`, the last one padded. All images of a group have one bucket, so that
    one more or one less of them changes none of the others' keys, but at the steps of the ladder.
    """
    counts = Counter(groups)
    allowed = [size for size in BUCKETS if size <= most]

    def for_group(group: Hashable) -> int:
        return next((size for size in allowed if size >= counts[group]), allowed[-1])

    return [for_group(group) for group in groups]


def order(groups: Sequence[Group], *, resident: str = "") -> list[int]:
    """Return the places of the images in the order they are best drawn.

    The resident checkpoint first, then the one with the most images; within a checkpoint the
    largest group first; within a group as given.
    """
    by_checkpoint = Counter(group.checkpoint for group in groups)
    by_group = Counter(groups)
    first_seen = {group: at for at, group in reversed(list(enumerate(groups)))}
    first_file = {group.checkpoint: at for at, group in reversed(list(enumerate(groups)))}

    def rank(at: int) -> tuple[bool, int, int, int, int, int]:
        group = groups[at]
        name = group.checkpoint
        return (
            name != resident, -by_checkpoint[name], first_file[name],
            -by_group[group], first_seen[group], at,
        )  # fmt: skip

    return sorted(range(len(groups)), key=rank)


@dataclass(frozen=True)
class Waiting:
    """What waits of one group: how many images, and since when the oldest does (monotonic s)."""

    count: int
    since_s: float


@dataclass(frozen=True)
class Choice:
    """What the GPU does next: draw a bucket of `group` now, or look again in `wait_s`."""

    group: Group | None = None
    wait_s: float | None = None


def choose(
    waiting: Mapping[Group, Waiting],
    *,
    resident: frozenset[str],
    now_s: float,
    idle_since_s: float,
    linger_s: float,
    max_wait_s: float,
) -> Choice:
    """Return which group is drawn next.

    First whoever waited too long; then a full bucket of a resident checkpoint; then what there is of
    a resident one, once nothing more of it came for a moment; then, once no resident one came for a
    moment either, the checkpoint that most images wait for.

    Args:
        waiting: By group; none of them empty.
        resident: Checkpoints that need no loading.
        now_s: Monotonic clock.
        idle_since_s: When the GPU ran out of work.
        linger_s: Longest wait for a bucket to fill, from when the GPU is idle and an image is there.
        max_wait_s: See `SdxlOptions`.
    """
    if not waiting:
        return Choice()
    oldest = min(waiting, key=lambda group: waiting[group].since_s)
    if now_s - waiting[oldest].since_s > max_wait_s:
        return Choice(oldest)
    here = [group for group in waiting if group.checkpoint in resident]
    full = [group for group in here if waiting[group].count >= group.bucket]
    if full:
        return Choice(min(full, key=lambda group: waiting[group].since_s))
    best = _largest(here or _of_one_checkpoint(waiting), waiting)
    # An answer in the making may be followed by more of its kind: a moment is cheaper than a
    # padded bucket, and far cheaper than a change of checkpoint.
    until_s = idle_since_s + linger_s if resident else now_s
    if waiting[best].count < best.bucket:
        until_s = max(idle_since_s, waiting[best].since_s) + linger_s
    return Choice(best) if until_s <= now_s else Choice(wait_s=until_s - now_s)


def _largest(groups: Sequence[Group], waiting: Mapping[Group, Waiting]) -> Group:
    return max(groups, key=lambda group: (waiting[group].count, -waiting[group].since_s))


def _of_one_checkpoint(waiting: Mapping[Group, Waiting]) -> list[Group]:
    """Return the groups of the checkpoint that most images wait for."""
    images = Counter[str]()
    for group, found in waiting.items():
        images[group.checkpoint] += found.count
    name = max(images, key=lambda each: images[each])
    return [group for group in waiting if group.checkpoint == name]
