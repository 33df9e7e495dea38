"""The steps of the loop for the assets of one run: provider, ledger, judge and refiner behind them.

Tasks find the studio of their run by its id, as they find its workshop.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.asking import PaidWords, Speaker, check_room
from imagemill.asset.bench import Bench, Turn
from imagemill.asset.decision import Terms
from imagemill.asset.finishing import Finished, checked_picture, finished, outcome_of, pixels
from imagemill.asset.gemini_judge import GeminiJudge
from imagemill.asset.gemini_refiner import GeminiRefiner
from imagemill.asset.judge import PIXEL_CAP, PixelJudge
from imagemill.asset.judgement import Judgement
from imagemill.asset.order import AssetOrder
from imagemill.asset.planning import benches_of, check_first_turns, longest_prompt, order_for
from imagemill.asset.refiner import Feedback, Refined, RuleRefiner
from imagemill.asset.request import AssetRequest
from imagemill.errors import ImagemillError, JudgeFailed, LedgerError
from imagemill.making import is_paid, make_image
from imagemill.ordering import ordered
from imagemill.results import failure_of
from imagemill.transparency import Segmenter
from imagemill.workshop import Workshop

RULES, PIXELS = RuleRefiner.name, PixelJudge.name


@dataclass
class Studio:
    """Everything the assets of one run are made with.

    Attributes:
        judge: Who looks at pictures; None counts technical checks (`PixelJudge`).
        refiner: Who words the next prompt; None goes by rules.
        segmenter: Asked for the subject where there is no plain background.
        output_dir: Where the files go.
        notes: What the asker should know of how it was done, in sentences.
    """

    shop: Workshop
    order: AssetOrder
    benches: tuple[Bench, ...]
    output_dir: Path
    judge: Speaker | None = None
    refiner: Speaker | None = None
    segmenter: Segmenter | None = None
    notes: tuple[str, ...] = ()
    at_once: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Make the limit on pictures that are worked on at a time."""
        self.at_once = asyncio.Semaphore(2)

    @property
    def judge_name(self) -> str:
        """The judge as results name it."""
        return self.judge.words.name if self.judge else PIXELS

    @property
    def refiner_name(self) -> str:
        """The refiner as results name it."""
        return self.refiner.words.name if self.refiner else RULES

    @property
    def target_score(self) -> float:
        """The score that ends the loop: never one that the judge cannot give."""
        return self.order.target_score if self.judge else min(self.order.target_score, PIXEL_CAP)

    @property
    def terms(self) -> Terms:
        """What the loop of each asset is held to; budgets are the ledger's to hold."""
        return Terms(
            target_score=self.target_score, max_iterations=self.order.max_iterations,
            point_worth_usd=self.order.point_worth_usd,
        )  # fmt: skip

    def begin(self, number: int, iteration: int) -> Turn:
        """Word the first turn, or return one that a refinement worded; number its image once."""
        bench = self.benches[number]
        turn = bench.turns.get(iteration)
        if turn is None:
            turn = self._worded(bench, bench.wording.prompt, by="template", cost_usd=Decimal(0))
            bench.turns[iteration] = turn
        if turn.index < 0:
            turn.index = ordered(
                self.shop, order_for(self.order, bench, turn.prompt, turn.sample),
                references=bench.references,
            )  # fmt: skip
        return turn

    def add(self, requests: Sequence[AssetRequest]) -> range:
        """Put further assets on benches, e.g. frames after a first one; returns their numbers.

        Raises:
            UnsupportedRequest: one could not be asked of every route; nothing was sent.
        """
        first, shop = len(self.benches), self.shop
        more = benches_of(self.order, shop.capabilities, requests)
        check_first_turns(self.order, more, shop.routes)
        self.benches = (*self.benches, *more)
        shop.progress = replace(shop.progress, total=shop.progress.total + len(more))
        return range(first, len(self.benches))

    @property
    def takes_references(self) -> bool:
        """Whether every route of the run can be shown a picture to keep to."""
        return all(route.capabilities.reference_images for route in self.shop.routes)

    async def draw(self, number: int, iteration: int, *, attempt: int = 1) -> None:
        """Make the picture, or find it paid. From the second on only if it can be judged, too."""
        bench, turn = self.benches[number], self.begin(number, iteration)
        if iteration > 1 and self.judge and not await is_paid(self.shop, turn.index):
            await check_room(self.shop, self._picture_usd(turn) + self._judge_usd(bench))
        self.shop.attempts[turn.index] = attempt
        drawn = await make_image(self.shop, turn.index, attempt=attempt)
        if turn.drawn is None:
            turn.cost_usd += drawn.cost_usd
            bench.paid_usd += Decimal(0) if drawn.reused else drawn.cost_usd
            bench.sent |= not drawn.reused
        turn.drawn = drawn

    async def cut(self, number: int, iteration: int) -> None:
        """Cut the picture out and fit it, in a thread; the file lies on the shelf by its digest."""
        bench, turn = self.benches[number], self.benches[number].turns[iteration]
        async with self.at_once:
            done = await asyncio.to_thread(self._finished, bench, turn)
            artifact = ArtifactRef(
                digest=digest_of(done.png), size_bytes=len(done.png),
                height_px=done.picture.shape[0], width_px=done.picture.shape[1],
            )  # fmt: skip
            path = self.shop.spool.image_path(artifact)
            if not await asyncio.to_thread(path.is_file):
                await asyncio.to_thread(self.shop.spool.adopt, artifact, done.png)
        turn.artifact, turn.path, turn.facts = artifact, path, done.facts

    def _finished(self, bench: Bench, turn: Turn) -> Finished:
        data = turn.original.read_bytes()
        return finished(data, bench.request, bench.guide, self.segmenter)

    async def check(self, number: int, iteration: int) -> None:
        """Measure what would be delivered, in a thread."""
        bench, turn = self.benches[number], self.benches[number].turns[iteration]
        async with self.at_once:
            turn.checks = await asyncio.to_thread(
                lambda: checked_picture(pixels(_read(turn)), bench.request, bench.guide)
            )

    async def look(self, number: int, iteration: int, *, again: int) -> Judgement:
        """Have the picture judged.

        Raises:
            JudgeFailed: what came is no judgement; what it was billed is in the ledger.
        """
        bench, turn = self.benches[number], self.benches[number].turns[iteration]
        outcomes = [outcome_of(check) for check in turn.checks]
        data = await asyncio.to_thread(_read, turn)
        if self.judge is None:
            turn.judgement = await PixelJudge(lambda *_: outcomes).judge(
                data, bench.request, bench.guide
            )
            return turn.judgement
        paid = PaidWords(self.shop, self.judge, kind="judge", again=again)
        judge = GeminiJudge(paid, checks=lambda *_: outcomes)
        try:
            turn.judgement = await judge.judge(data, bench.request, bench.guide)
        except JudgeFailed as error:
            turn.judge_failures.append(error.reason)
            turn.cost_usd += error.cost_usd
            raise
        finally:
            self._count(bench, paid)
        turn.cost_usd += turn.judgement.cost_usd
        return turn.judgement

    async def refine(self, number: int, iteration: int, *, by_rules: bool = False) -> None:
        """Word the next turn from what was wrong with this one."""
        bench, turn = self.benches[number], self.benches[number].turns[iteration]
        said = turn.judgement.improvement_suggestions if turn.judgement else ()
        remedies = tuple(check.remedy for check in turn.failed_checks)
        feedback = Feedback(
            suggestions=tuple(dict.fromkeys((*said, *remedies))), failed_attempts=iteration
        )
        refined = await self._refined(bench, turn, feedback, by_rules=by_rules)
        bench.turns[iteration + 1] = self._worded(
            bench, refined.prompt, by=refined.by, cost_usd=refined.cost_usd
        )

    async def _refined(
        self, bench: Bench, turn: Turn, feedback: Feedback, *, by_rules: bool
    ) -> Refined:
        most = longest_prompt(self.shop.routes)
        if self.refiner is None or by_rules:
            return await RuleRefiner(max_chars=most).refine(bench.wording, turn.prompt, feedback)
        headroom_usd = self._picture_usd(turn) + (self._judge_usd(bench) if self.judge else 0)
        paid = PaidWords(self.shop, self.refiner, kind="refine", headroom_usd=headroom_usd)
        try:
            return await GeminiRefiner(paid, max_chars=most).refine(
                bench.wording, turn.prompt, feedback
            )
        finally:
            self._count(bench, paid)

    def price_usd(self, number: int) -> Decimal:
        """Return what an iteration of this asset has cost on average, whoever paid."""
        turns = self.benches[number].turns.values()
        return sum((turn.cost_usd for turn in turns), Decimal(0)) / max(1, len(turns))

    async def note_failure(self, number: int, error: ImagemillError) -> None:
        """List a picture that was ordered and did not come among the run's results."""
        for turn in self.benches[number].turns.values():
            if turn.index >= 0 and turn.drawn is None:
                attempts = self.shop.attempts.get(turn.index, 0)
                failure = failure_of(self.shop, turn.index, error, attempts=attempts)
                await self.shop.ledger.keep_item(self.shop.run.id, failure)

    def _worded(self, bench: Bench, prompt: str, *, by: str, cost_usd: Decimal) -> Turn:
        sample = bench.next_sample(prompt, self.order.max_iterations)
        return Turn(prompt=prompt, by=by, sample=sample, cost_usd=cost_usd)

    def _count(self, bench: Bench, paid: PaidWords) -> None:
        bench.paid_usd += paid.paid_usd
        bench.sent |= paid.sent

    def _picture_usd(self, turn: Turn) -> Decimal:
        return self.shop.routes[0].worst_case_usd(turn.index)

    def _judge_usd(self, bench: Bench) -> Decimal:
        if self.judge is None:
            return Decimal(0)
        judge = GeminiJudge(self.judge.words)
        return judge.worst_case_usd(bench.request, bench.guide)


def _read(turn: Turn) -> bytes:
    assert turn.path is not None, "cut comes first"  # noqa: S101 - the loop's order
    return turn.path.read_bytes()


_open: dict[str, Studio] = {}


def studio_of(run_id: str) -> Studio:
    """Return the open studio of a run in this process.

    Raises:
        LedgerError: the run is not open here.
    """
    try:
        return _open[run_id]
    except KeyError:
        raise LedgerError(f"Run {run_id} makes no assets in this process.") from None


@contextmanager
def at_work(studio: Studio) -> Iterator[Studio]:
    """Make the studio findable while the body runs."""
    _open[studio.shop.run.id] = studio
    try:
        yield studio
    finally:
        _open.pop(studio.shop.run.id, None)
