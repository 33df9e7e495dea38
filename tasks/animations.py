"""Frames of an animation as steps of the asset loop, and the decision which of them are made again."""

import asyncio
from collections.abc import Sequence

from prefect import get_run_logger

from imagemill.animation.handing_out import hand_out_animation
from imagemill.animation.making import Animated, animated
from imagemill.animation.order import AnimationRequest
from imagemill.animation.result import AnimationResult
from imagemill.asset.bench import Turn
from imagemill.asset.decision import Round
from imagemill.asset.finishing import outcome_of, pixels
from imagemill.asset.judge import pixel_judgement
from imagemill.asset.loop import Ending
from imagemill.asset.result import AssetResult
from imagemill.asset.studio import Studio
from imagemill.errors import ImagemillError, LedgerError, NoImage
from imagemill.quality.check import Picture
from tasks.assets import TaskSteps, closed_asset


class Frames:
    """The benches of one animation, and how a frame is drawn on them.

    Args:
        studio: Of the run.
        request: The animation.
        first: The bench of frame 0, made by the loop.
    """

    def __init__(self, studio: Studio, request: AnimationRequest, first: int) -> None:
        self._studio = studio
        orders = [request.frame(index) for index in range(1, request.frames)]
        self.numbers = (first, *studio.add(orders))
        self._places = asyncio.Semaphore(studio.order.max_concurrent)
        self._turns: dict[tuple[int, int], int] = {}

    async def draw(self, index: int, attempt: int, after: int) -> Picture:
        """Make one frame after another one; see `imagemill.animation.making.Draw`."""
        studio, number = self._studio, self.numbers[index]
        bench = studio.benches[number]
        model = studio.benches[self.numbers[after]].best or self._last(after)
        if studio.takes_references and model:
            bench.references = (await asyncio.to_thread(model.original.read_bytes),)
        turn = max(bench.turns, default=0) + 1
        self._turns[index, attempt] = turn
        steps = TaskSteps(studio, number)
        async with self._places:
            await steps.draw(turn)
            await steps.cut(turn)
            await steps.check(turn)
        made = bench.turns[turn]
        made.judgement = pixel_judgement([outcome_of(check) for check in made.checks])
        return await self.picture(number, turn)

    async def picture(self, number: int, turn: int) -> Picture:
        """Return what would be delivered of a turn."""
        path = self._studio.benches[number].turns[turn].path
        if path is None:
            raise NoImage("A frame has no picture.", remedy="See the log of this run.")
        return pixels(await asyncio.to_thread(path.read_bytes))

    def settle(self, found: Animated | None) -> None:
        """Say of every bench which turn is delivered; those without any stay without."""
        for index, number in enumerate(self.numbers):
            bench = self._studio.benches[number]
            attempt = found.attempts[index] if found else 1
            turn = self._turns.get((index, attempt))
            if turn is None or bench.turns[turn].path is None:
                continue
            score = bench.turns[turn].judgement
            bench.ending = Ending(
                (Round(iteration=turn, score=score.overall_score if score else None),), turn,
                "drift", "A frame is made once, and again only if it drifts.",
            )  # fmt: skip

    def _last(self, index: int) -> Turn | None:
        turns = self._studio.benches[self.numbers[index]].turns
        return turns[max(turns)] if turns else None


async def make_animation(
    studio: Studio, request: AnimationRequest, first: int, *, max_redos: int
) -> tuple[AnimationResult, list[AssetResult]]:
    """Make the frames after the first, redo what drifts, deliver; returns it and the new results.

    Raises:
        LedgerError: the ledger took nothing any more.
    """
    bench = studio.benches[first]
    if bench.best is None or bench.best.path is None:
        return _failed(request, studio, "Its first frame could not be made."), []
    frames, found, error = Frames(studio, request, first), None, None
    start = pixels(await asyncio.to_thread(bench.best.path.read_bytes))
    try:
        found = await animated(frames.draw, start, request.frames, max_redos=max_redos)
    except LedgerError:
        raise
    except ImagemillError as trouble:
        error = trouble
    frames.settle(found)
    results = [
        await closed_asset(studio, number, error)
        for index, number in enumerate(frames.numbers)
        if index or (found and found.attempts[0] > 1)
    ]
    if found is None or error:
        return _failed(request, studio, str(error)), results
    ids = tuple(studio.benches[number].request.id for number in frames.numbers)
    result = await hand_out_animation(studio, request, found, ids)
    get_run_logger().info(
        "%s/%s: %d frames, %d redone, worst drift %.2f of 1", result.category, result.name,
        result.frames, len(result.redone), max(result.drift),
    )  # fmt: skip
    return result, results


async def make_animations(
    studio: Studio,
    animations: Sequence[AnimationRequest],
    single: int,
    stills: list[AssetResult],
    max_redos: int,
) -> tuple[list[AnimationResult], list[AssetResult]]:
    """Make all animations of a run, one after the other; their frames are drawn side by side.

    Args:
        studio: Of the run.
        animations: In order.
        single: How many assets of the run come before the first frames.
        stills: Results of single assets and first frames, by the number of their bench.
        max_redos: How often a frame is drawn again at most.

    Returns:
        The animations, and the results of every bench of the run, in the order of their numbers.

    Raises:
        LedgerError: the ledger took nothing any more.
    """
    pictures, moving = list(stills), []
    for place, request in enumerate(animations):
        first = single + place
        result, frames = await make_animation(studio, request, first, max_redos=max_redos)
        moving.append(result)
        by_id = {frame.request_id: frame for frame in frames}
        pictures = [by_id.pop(each.request_id, each) for each in pictures]
        pictures += by_id.values()
    return moving, pictures


def _failed(request: AnimationRequest, studio: Studio, why: str) -> AnimationResult:
    return AnimationResult(
        name=request.asset.name, category=request.asset.category, status="failed",
        frames=request.frames, frame_ms=request.frame_ms, frame_ids=(), error=why,
        referenced=studio.takes_references,
    )  # fmt: skip
