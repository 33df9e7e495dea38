"""How a batch is spread over workers: whole checkpoints where it can be, equal shares where it must."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from pathlib import Path

from imagemill.errors import ImagemillError, RunStopped
from imagemill.keeping import handed_out_file
from imagemill.request import BatchRequest, ImageRequest, ImageResult
from imagemill.results import failure_of
from imagemill.workshop import Workshop


def shares(
    groups: Sequence[Hashable], units: Sequence[Hashable], *, workers: int, bucket: int = 1
) -> list[list[int]]:
    """Return for each worker the places of its images, in their own order; nobody gets none.

    The images are laid end to end, the largest group first, and cut into shares of equal length: a
    group is torn between two workers at most where a cut falls into it, and the cut is moved to the
    nearest end of a bucket. So each worker loads each of its checkpoints once, and the number of
    loads in all is that of the groups and the cuts.

    Args:
        groups: By image, what it shares with others that are best drawn by the same worker.
        units: By image, what must stay together (samples of one prompt).
        workers: How many there are, 1 or more.
        bucket: Images drawn by one call.
    """
    line = _line(groups, units)
    total = len(groups)
    cuts = [_cut(line, at=total * number / workers, bucket=bucket) for number in range(1, workers)]
    edges = [0, *cuts, len(line)]
    parts = [line[first:end] for first, end in pairwise(edges)]
    return [sorted(place for unit in part for place in unit) for part in parts if part]


def _line(groups: Sequence[Hashable], units: Sequence[Hashable]) -> list[list[int]]:
    """Return the units, each a list of places, ordered by the size of their group."""
    sizes = Counter(groups)
    first_seen: dict[Hashable, int] = {}
    members: dict[tuple[Hashable, Hashable], list[int]] = {}
    for place, (group, unit) in enumerate(zip(groups, units, strict=True)):
        first_seen.setdefault(group, place)
        members.setdefault((group, unit), []).append(place)
    keys = sorted(members, key=lambda key: (-sizes[key[0]], first_seen[key[0]], members[key][0]))
    return [members[key] for key in keys]


def _cut(line: Sequence[Sequence[int]], *, at: float, bucket: int) -> int:
    """Return the number of units before the cut that falls nearest to `at` images.

    Nearest in whole buckets: half a bucket more for one worker costs less than one padded for both.
    """
    wanted = round(at / bucket) * bucket if bucket > 1 else at
    lengths = [0]
    for unit in line:
        lengths.append(lengths[-1] + len(unit))
    return min(range(len(lengths)), key=lambda index: abs(lengths[index] - wanted))


def shares_of(shop: Workshop, *, workers: int) -> list[list[int]]:
    """Return for each worker the prompts (by place) that it draws.

    Prompts of one checkpoint, size and shape stay together; equal ones always do, because the later
    of two is another sample of the first.
    """
    batch = shop.batch
    firsts = [shop.requests[place * batch.samples] for place in range(len(batch.prompts))]
    alike = [
        (words, row.model_dump_json())
        for words, row in zip(batch.prompts, batch.settled, strict=True)
    ]
    bucket = max(1, shop.capabilities.batch_size // batch.samples)
    return shares([_group(each) for each in firsts], alike, workers=workers, bucket=bucket)


def _group(request: ImageRequest) -> Hashable:
    return (request.model, request.size, request.aspect_ratio)


def part_of(batch: BatchRequest, prompts: Sequence[int]) -> BatchRequest:
    """Return a batch of some of the prompts; whoever asked is told by the whole one alone."""
    rows = tuple(batch.rows[place] for place in prompts) if batch.rows else ()
    words = tuple(batch.prompts[place] for place in prompts)
    return batch.model_copy(
        update={"prompts": words, "rows": rows, "webhook": "", "output_dir": ""}
    )


def place_in_whole(batch: BatchRequest, prompts: Sequence[int], index: int) -> int:
    """Return where an image of a part stands in the whole batch."""
    return prompts[index // batch.samples] * batch.samples + index % batch.samples


async def take_over(shop: Workshop, place: int, result: ImageResult) -> None:
    """Write another run's image as this run's own, hang it and hand it out; once for each place."""
    if place in shop.carried:
        return
    mine = await asyncio.to_thread(_handed_on, shop, place, result)
    shop.carried[place] = mine
    await shop.ledger.keep_item(shop.run.id, mine)
    shop.count(mine)


def _handed_on(shop: Workshop, place: int, result: ImageResult) -> ImageResult:
    """Put the file where the asker looks for it, and the picture on the sheet. Runs in a thread."""
    mine = result.model_copy(update={"index": place})
    if result.local_path and Path(result.local_path).is_file():  # it may lie on another machine
        file = handed_out_file(shop, place, str(result.sha256), Path(result.local_path))
        mine = mine.model_copy(update={"local_path": str(file)})
        shop.sheet.hang(mine)
    return mine


async def give_up_missing(shop: Workshop, why: ImagemillError | None) -> None:
    """Say of every image that no part brought that it was not started."""
    told = why or shop.stopped or RunStopped("No worker drew this image.", remedy="Run it again.")
    for place in range(len(shop.requests)):
        if place not in shop.carried:
            await take_over(shop, place, failure_of(shop, place, told, attempts=0))
