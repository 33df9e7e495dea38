"""What dead processes left behind, for `imagemill doctor`: found, and with --free put in order."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

from apps.flow_runs import mark_crashed
from apps.prefect_server import running_prefect, speaking_to
from apps.slots import StuckLimit, release, stuck_limits
from blocks.settings import Settings
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.values import Question
from imagemill.orphans import settle_orphan
from imagemill.providers import EMBEDDED
from imagemill.spool import Spool


@dataclass(frozen=True)
class Leftovers:
    """What is held by nobody: reservations, runs still marked running, slots of Prefect limits."""

    reservations: list[Question]
    runs: list[RunRow]
    limits: list[StuckLimit]

    @property
    def reserved_usd(self) -> Decimal:
        """What the reservations hold."""
        return sum((left.reserved_usd for left in self.reservations), Decimal(0))


async def find_leftovers(settings: Settings) -> Leftovers:
    """Look, and change nothing.

    Raises:
        ImagemillError: the ledger or the Prefect server refuses.
    """
    ledger = open_ledger(settings.ledger_url)
    try:
        return Leftovers(
            await ledger.left_open(),
            await ledger.left_running(),
            await _stuck(ledger, settings),
        )
    finally:
        ledger.close()


async def _stuck(ledger: Ledger, settings: Settings) -> list[StuckLimit]:
    url = running_prefect(settings)
    if not url:
        return []
    with speaking_to(url):
        return await stuck_limits(ledger, home=settings.home)


async def free_leftovers(settings: Settings) -> AsyncIterator[str]:
    """Put in order what the dead left; yields what was done, a line each.

    Reservations are charged from this machine's spool, or become ambiguous (embedded drawings cost
    nothing); runs become crashed, so that the same batch continues them; slots are released.

    Raises:
        ImagemillError: the ledger or the Prefect server refuses.
    """
    ledger, url = open_ledger(settings.ledger_url), running_prefect(settings)
    try:
        spool = Spool(settings.home)
        for left in await ledger.left_open():
            yield f"reservation {left.reservation_id} {_of(left)}: {await _settled(ledger, spool, left)}"
        for run in await ledger.left_running():
            yield f"run {run.id}: {await _given_up(ledger, run, url)}"
        # Looked for last: runs given up a moment ago hold no slots any more.
        for limit in await _stuck(ledger, settings):
            with speaking_to(url):
                await release(limit)
            yield f"limit {limit.name}: {limit.slots} slots released; nobody alive held them"
    finally:
        ledger.close()


async def _given_up(ledger: Ledger, run: RunRow, url: str) -> str:
    if not await ledger.give_up_run(run):
        return "it shows life again, and is left alone"
    marked = url and await mark_crashed(url, run.id)
    where = "crashed, in Prefect too" if marked else "crashed"
    return f"{where}; the same batch again finishes it, paying nothing twice"


def _of(left: Question) -> str:
    return f"(key {left.key[:12]}, run {left.run_id})"


async def _settled(ledger: Ledger, spool: Spool, left: Question) -> str:
    outcome = await settle_orphan(
        ledger, spool, key=left.key, reservation_id=left.reservation_id,
        embedded=left.provider in EMBEDDED,
    )  # fmt: skip
    return {
        "charged": "its answer lay in the spool; charged",
        "ambiguous": f"ambiguous; ${left.reserved_usd} counted as spent (`imagemill reconcile`)",
        "failed": "failed; drawn on this machine, it cost nothing",
        "elsewhere": "somebody else settled it meanwhile",
    }[outcome]
