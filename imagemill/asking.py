"""One paid question: words that are reserved, charged and kept like an image, and never paid twice.

Judges and refiners ask through `PaidWords` and need not know of money.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from pydantic import BaseModel

from imagemill.artifact import digest_of
from imagemill.errors import (
    AmbiguousOutcome,
    AnswerLost,
    BudgetExceeded,
    ImagemillError,
    KeyHeld,
    RateLimited,
)
from imagemill.failing import record_failure
from imagemill.ledger import Ask, Granted, Orphaned
from imagemill.ledger.answers import Kind
from imagemill.ledger.bills import stepped
from imagemill.ledger.values import Account
from imagemill.making import HELD_POLL_S, reserved, to_the_end
from imagemill.orphans import settle_orphan
from imagemill.pacing import Pacer
from imagemill.words import PricedWords, Written
from imagemill.workshop import Workshop

HELD_FOR_S = 180.0
"""How long a twin run's answer to the same question is waited for: three times its time-out."""


class Speaker(Protocol):
    """A text model that a run may ask.

    `provider` is its name in the ledger; `pacer` is shared by everybody who asks it. `dearness` is
    the highest bill of this run as a multiple of the catalog's worst case, 1 or more.
    """

    dearness: Decimal

    @property
    def provider(self) -> str:
        """The provider, as the ledger names it."""
        ...

    @property
    def words(self) -> PricedWords:
        """Who answers."""
        ...

    @property
    def pacer(self) -> Pacer:
        """How fast it may be asked."""
        ...


class PaidWords:
    """A `Words` behind the ledger: reserve the worst case, ask once, charge what was used, keep it.

    A question that was paid by this chain of runs, or by anybody within the reuse window, is not
    asked again. One object asks for one judgement or one refinement.

    Args:
        shop: The run that pays.
        speaker: Who is asked.
        kind: What the charge is booked as.
        again: 0 the first time; a second opinion on the same question is another question.
        headroom_usd: What must fit into the run's budget besides: a refinement is of no use to
            whoever cannot pay for the picture after it.

    Attributes:
        paid_usd: What was charged now, by this object; reused answers cost nothing.
        sent: Whether anything was sent.
    """

    def __init__(
        self, shop: Workshop, speaker: Speaker, *, kind: Kind, again: int = 0,
        headroom_usd: Decimal = Decimal(0),
    ) -> None:  # fmt: skip
        self._shop = shop
        self._speaker = speaker
        self._kind: Kind = kind
        self._again = again
        self._headroom_usd = headroom_usd
        self.paid_usd = Decimal(0)
        self.sent = False

    @property
    def name(self) -> str:
        """The model."""
        return self._speaker.words.name

    def worst_case_usd(self, prompt: str, *, pictures: int = 0) -> Decimal:
        """Return the most one question can bill, in USD."""
        catalog = self._speaker.words.worst_case_usd(prompt, pictures=pictures)
        return catalog * self._speaker.dearness

    async def write(
        self, prompt: str, *, pictures: Sequence[bytes] = (), schema: type[BaseModel] | None = None
    ) -> Written:
        """Ask once, or find the answer that is paid; see `imagemill.words.Words`.

        `cost_usd` is what the answer had cost, also when it cost nothing now.

        Raises:
            BudgetExceeded: a ceiling has no room for the worst case; nothing was sent.
            AnswerLost: it may have been billed, now or by an earlier attempt; it is counted.
        """
        ask = self._ask(prompt, pictures, schema)
        if self._headroom_usd and await self._shop.ledger.reused(ask) is None:
            await check_room(self._shop, ask.worst_case_usd + self._headroom_usd)
        deadline = time.monotonic() + HELD_FOR_S
        while True:
            outcomes = self._shop.unsettled.outcomes
            try:
                found = await self._asked(ask, prompt, pictures, schema)
            except KeyHeld:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(HELD_POLL_S)
            except BudgetExceeded as error:
                await self._room(error, outcomes)
            else:
                if found is not None:
                    return found

    async def aclose(self) -> None:
        """Close nothing: the run keeps its words open."""

    def _ask(self, prompt: str, pictures: Sequence[bytes], schema: type[BaseModel] | None) -> Ask:
        run, batch = self._shop.run, self._shop.batch
        key = question_key(
            kind=self._kind, model=self.name, prompt=prompt, pictures=pictures,
            shape=schema.__name__ if schema else "", again=self._again,
        )  # fmt: skip
        return Ask(
            key=key, run_id=run.id, lineage=run.lineage, holder=run.holder,
            deployment=run.deployment, provider=self._speaker.provider, model=self.name,
            worst_case_usd=self.worst_case_usd(prompt, pictures=len(pictures)),
            reuse_within_s=batch.reuse_within_s, resend_ambiguous=batch.resend_ambiguous,
        )  # fmt: skip

    async def _asked(
        self, ask: Ask, prompt: str, pictures: Sequence[bytes], schema: type[BaseModel] | None
    ) -> Written | None:
        """Return the answer; None when an attempt of a dead process was settled first."""
        shop = self._shop
        if shop.stopped and not isinstance(shop.stopped, BudgetExceeded):
            return await self._paid_before(ask, shop.stopped)
        async with self._speaker.pacer.turn():
            try:
                answer = await reserved(shop, ask)
            except AmbiguousOutcome as error:
                raise AnswerLost(
                    error.message, remedy=error.remedy, cost_usd=error.cost_usd
                ) from None
            if isinstance(answer, Granted):
                shop.unsettled.opened(answer.reservation_id)
                return await self._sent(answer.reservation_id, prompt, pictures, schema)
        if isinstance(answer, Orphaned):
            await settle_orphan(
                shop.ledger, shop.spool, key=answer.key, reservation_id=answer.reservation_id,
                embedded=False,
            )  # fmt: skip
            return None
        return await shop.ledger.answer(answer.reservation_id)

    async def _paid_before(self, ask: Ask, why: ImagemillError) -> Written:
        found = await self._shop.ledger.reused(ask)
        if found is None:
            raise why
        return await self._shop.ledger.answer(found.reservation_id)

    async def _sent(
        self,
        reservation_id: int,
        prompt: str,
        pictures: Sequence[bytes],
        schema: type[BaseModel] | None,
    ) -> Written:
        """Ask once. Whatever happens, what it did to the bill is written."""
        shop, started = self._shop, time.monotonic()
        shop.sending()
        self.sent = True
        try:
            written = await self._speaker.words.write(prompt, pictures=pictures, schema=schema)
        except asyncio.CancelledError:
            # The question may be on the wire: nobody can say that it is not billed.
            await asyncio.shield(self._lost(reservation_id, "cancelled"))
            raise
        except ImagemillError as error:
            if isinstance(error, RateLimited):
                self._speaker.pacer.slow_down(error.retry_after_s)
            await record_failure(shop, reservation_id, error)
            self.paid_usd += error.cost_usd
            raise
        except Exception:
            await self._lost(reservation_id, "unexpected")
            raise
        self._learn(written, prompt, len(pictures))
        self._speaker.pacer.went_well()
        seconds = round(time.monotonic() - started, 3)
        keeping = shop.ledger.answered(reservation_id, written, kind=self._kind, seconds=seconds)
        above = await to_the_end(asyncio.ensure_future(keeping))
        shop.unsettled.settled(reservation_id)
        self.paid_usd += written.cost_usd
        if above:
            shop.stopped = shop.stopped or _billed_above(written, above)
        return written

    def _learn(self, written: Written, prompt: str, pictures: int) -> None:
        """Hold what it billed for the next questions, where the catalog says too little."""
        catalog = self._speaker.words.worst_case_usd(prompt, pictures=pictures)
        if catalog and written.cost_usd > catalog:
            seen = stepped(written.cost_usd / catalog)
            self._speaker.dearness = max(self._speaker.dearness, seen)

    async def _lost(self, reservation_id: int, error_class: str) -> None:
        await self._shop.ledger.ambiguous(reservation_id, error_class=error_class)
        self._shop.unsettled.settled(reservation_id)

    async def _room(self, refused: BudgetExceeded, outcomes: int) -> None:
        """Wait for a reservation of this run to settle: it may cost less than it holds.

        Raises:
            BudgetExceeded: none is left that could.
        """
        unsettled = self._shop.unsettled
        if unsettled.outcomes != outcomes:
            return
        if not unsettled:
            raise refused
        await unsettled.next()


async def check_room(shop: Workshop, worst_case_usd: Decimal) -> None:
    """Make sure that so much more would fit into the run's budget as it is spent now.

    Holds nothing: what is on the wire may cost less than it holds.

    Raises:
        BudgetExceeded: it would not.
    """
    account = await shop.ledger.chain(shop.run.lineage)
    if account is None or account.cap_usd is None:
        return
    if account.spent_usd + worst_case_usd > account.cap_usd:
        raise BudgetExceeded(
            f"The next step may cost ${worst_case_usd:.4f}; of the run's budget of "
            f"${account.cap_usd} ${account.spent_usd:.4f} is spent.",
            remedy="Raise max_cost_usd and start it again; what is made is reused.",
        )


def question_key(
    *, kind: str, model: str, prompt: str, pictures: Sequence[bytes], shape: str, again: int
) -> str:
    """Return the key of a question: sha256 over all that decides its answer, 64 hex digits."""
    canonical = {
        "v": 1, "kind": kind, "model": model, "prompt": digest_of(prompt.encode()),
        "pictures": [digest_of(data) for data in pictures], "shape": shape, "again": again,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def _billed_above(written: Written, account: Account) -> BudgetExceeded:
    return BudgetExceeded(
        f"{written.model} billed ${written.cost_usd} for an answer, more than its worst case in the "
        f"catalog; ${account.spent_usd} is spent of a ceiling of ${account.cap_usd}.",
        remedy="Nothing more is sent. Correct the model's price in your catalog file.",
    )
