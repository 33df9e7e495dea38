"""What processes left without an outcome: their answers may lie in this machine's spool, paid and whole.

Used by a run that meets such a key, by `imagemill reconcile` and by `imagemill doctor --free`.
"""

import asyncio
from contextlib import suppress
from typing import Literal

from imagemill.errors import LedgerError
from imagemill.ledger import Ledger
from imagemill.ledger.values import Payment, Question
from imagemill.spool import Spool

Outcome = Literal["charged", "ambiguous", "failed", "elsewhere"]


async def settle_orphan(
    ledger: Ledger, spool: Spool, *, key: str, reservation_id: int, embedded: bool
) -> Outcome:
    """Close a reservation whose process is gone: charge what it left, else nobody knows the outcome.

    Args:
        ledger: Where it is open.
        spool: This machine's; another machine's cannot be seen.
        key: The reservation's.
        reservation_id: Which.
        embedded: Drawn by this machine itself, which bills nothing.

    Returns:
        `charged` (the answer was in the spool), `ambiguous` (counted as spent), `failed` (embedded:
        it cost nothing), or `elsewhere`: somebody else was quicker.
    """
    try:
        if await found_answer(ledger, spool, key=key, reservation_id=reservation_id):
            return "charged"
        if embedded:
            await ledger.failed(reservation_id, error_class="crashed")
            return "failed"
        await ledger.ambiguous(reservation_id, error_class="crashed")
    except LedgerError:  # a twin was quicker: what it wrote is read again right away
        return "elsewhere"
    return "ambiguous"


async def found_answer(
    ledger: Ledger, spool: Spool, *, key: str, reservation_id: int
) -> Payment | None:
    """Charge and shelve the answer that lies whole in this machine's spool; None when none does.

    Raises:
        LedgerError: somebody else closed the reservation meanwhile.
    """
    left = await asyncio.to_thread(spool.find, key, reservation_id)
    if left is None:
        return None
    await ledger.paid(reservation_id, left.payment)
    await asyncio.to_thread(spool.shelve, left)
    return left.payment


async def look_for_answers(
    ledger: Ledger, spool: Spool, questions: list[Question]
) -> dict[int, Payment]:
    """Charge every lost answer that lies in this machine's spool after all, by reservation id."""
    found = {}
    for question in questions:
        with suppress(LedgerError):  # settled by somebody else at this moment
            payment = await found_answer(
                ledger, spool, key=question.key, reservation_id=question.reservation_id
            )
            if payment is not None:
                found[question.reservation_id] = payment
    return found
