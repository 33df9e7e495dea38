"""The live parts of one run in one process: provider, store, ledger, spool, limits.

Tasks find theirs by run id, because live parts never cross a task border.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from imagemill.contact_sheet import ContactSheet
from imagemill.delivering import Endpoint
from imagemill.errors import ImagemillError, LedgerError, RunStopped
from imagemill.ledger import Ledger, RunRow
from imagemill.ledger.runs import HEARTBEAT
from imagemill.pacing import Pacer
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import BatchRequest, Facts, ImageRequest, ImageResult
from imagemill.routing import Route
from imagemill.spool import Spool
from imagemill.store.base import ContentStore
from imagemill.unsettled import Unsettled

UPLOADS_AT_ONCE = 8
"""Uploads in flight; more did not raise SeaweedFS's PUT/s on two cores (facts/storage.md, 2)."""


DESK_SPARE = 4
"""Answers that may wait for the disk beyond one for each place on the wire."""


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows, after every image."""

    total: int
    completed: int
    succeeded: int
    failed: int
    reused: int
    last: ImageResult | None = None
    noun: str = "images"


on_progress: ContextVar[Callable[[Progress], None] | None] = ContextVar("on_progress", default=None)
"""Set by a door in this process that wants to draw a live bar."""


@dataclass
class Workshop:
    """Everything one run works with. Built by `blocks.workshop`, used by the ground floor.

    Attributes:
        routes: Who may be asked, in order; the first is `batch.provider`.
        desk: So many answers at most are in memory, not yet on disk.
        slots: At most so many requests of this run are on the wire (`places`).
        lanes: By route, at most so many of them there: its models may draw fewer by one call.
        folder: Where this run's contact sheet and gallery go on this machine.
        stopped: Why nothing more is sent (a refused key), or None.
        attempts: By image, how often it was tried.
        asked: By image, who was asked last.
        pinned: The one route of a style-locked group, once one of its images is there.
        capped: Whether a ceiling holds for this run, so that a bill must be seen before many go.
        scout: Held by the one image that goes alone.
        references: Pictures that every image is guided by, but for those of `own_references`.
        own_references: By image, those that only it is guided by.
        facts: By key, what providers noted on the images that this run paid for.
        carried: By image, what an earlier run says of it and this one leaves alone.
        unsettled: Reservations whose outcome is not written yet.
        under_way: Set once a request is out or an image has its result.
        sheet: The contact sheet, which every picture is hung on as soon as it is stored.
    """

    run: RunRow
    batch: BatchRequest
    style: Style
    routes: tuple[Route, ...]
    references: tuple[bytes, ...]
    store: ContentStore
    ledger: Ledger
    spool: Spool
    folder: Path
    output_dir: Path | None
    endpoint: Endpoint | None = None
    slots: asyncio.Semaphore = field(init=False)
    lanes: dict[str, asyncio.Semaphore] = field(init=False)
    desk: asyncio.Semaphore = field(init=False)
    uploads: asyncio.Semaphore = field(init=False)
    stopped: ImagemillError | None = None
    first_sent_at: float | None = None
    last_stored_at: float | None = None
    attempts: dict[int, int] = field(default_factory=dict)
    asked: dict[int, Route] = field(default_factory=dict)
    pinned: Route | None = None
    capped: bool = False
    scout: asyncio.Lock = field(default_factory=asyncio.Lock)
    own_references: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    carried: dict[int, ImageResult] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    unsettled: Unsettled = field(default_factory=Unsettled)
    under_way: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Progress = field(init=False)
    sheet: ContactSheet = field(init=False)

    def __post_init__(self) -> None:
        """Make the limits of this run."""
        self.lower_to(self.batch.max_concurrent)
        self.desk = asyncio.Semaphore(self.places + DESK_SPARE)
        self.uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self.progress = Progress(len(self.requests), 0, 0, 0, 0)
        self.sheet = ContactSheet(len(self.requests))

    @property
    def places(self) -> int:
        """Most requests on the wire: `max_concurrent` calls, each of so many as one call may draw."""
        return self.batch.max_concurrent * self._batch_size

    @property
    def _batch_size(self) -> int:
        return max((route.capabilities.batch_size for route in self.routes), default=1)

    @property
    def provider(self) -> ImageProvider:
        """The provider that was asked for."""
        return self.routes[0].provider

    @property
    def capabilities(self) -> Capabilities:
        """What the asked model can do."""
        return self.routes[0].capabilities

    @property
    def requests(self) -> Sequence[ImageRequest]:
        """The images, as the asked model is asked for them; may grow. None where words are asked for."""
        return self.routes[0].requests if self.routes else ()

    def references_of(self, index: int) -> tuple[bytes, ...]:
        """Return the pictures that an image is guided by, in the order they are sent."""
        return self.own_references.get(index, self.references)

    @property
    def pacer(self) -> Pacer:
        """The pace of the asked model."""
        return self.routes[0].pacer

    @property
    def open_routes(self) -> tuple[Route, ...]:
        """Who may be asked: everybody, or the one that a style-locked group is pinned to."""
        return (self.pinned,) if self.pinned else self.routes

    @property
    def locked(self) -> bool:
        """Whether all images must come from one model of several (`style_lock`)."""
        return self.batch.style_lock and len(self.routes) > 1

    def pin(self, route: Route) -> None:
        """An image of `route` is there: a style-locked group stays with it from now on."""
        if self.locked and self.pinned is None:
            self.pinned = route

    def refuse(self, route: Route, error: ImagemillError) -> None:
        """Ask `route` nothing more in this run; without another one, send nothing more at all."""
        route.refused = error
        if all(each.refused for each in self.open_routes):
            self.stopped = self.stopped or error

    @property
    def seconds(self) -> float:
        """The batch's own clock: first request sent to last result stored."""
        if self.first_sent_at is None or self.last_stored_at is None:
            return 0.0
        return self.last_stored_at - self.first_sent_at

    def goes_alone(self, route: Route) -> bool:
        """Whether the next image of `route` is asked for with no other beside it.

        Until a style-locked group has its first image: two at once might be drawn by two models.
        While a ceiling holds and the newest bill of `route` is not known, or was above what was
        held for it: several at once might all pass the ceiling.
        """
        return (self.locked and self.pinned is None) or (self.capped and not route.proven)

    @asynccontextmanager
    async def slot(self, route: Route) -> AsyncIterator[bool]:
        """Hold one of the run's places on the wire, at the provider's pace.

        Yields whether it is held alone, because it `goes_alone`.
        """
        if self.goes_alone(route):
            async with self.scout:
                if self.goes_alone(route):
                    async with self.lanes[route.id], self.slots, route.pacer.turn():
                        yield True
                    return
        async with self.lanes[route.id], self.slots, route.pacer.turn():
            yield False

    def lower_to(self, calls: int) -> None:
        """Allow fewer calls on the wire than were asked for; called before the first is sent."""
        allowed = max(1, min(calls, self.batch.max_concurrent))
        self.slots = asyncio.Semaphore(allowed * self._batch_size)
        self.lanes = {
            route.id: asyncio.Semaphore(allowed * route.capabilities.batch_size)
            for route in self.routes
        }

    def sending(self) -> None:
        """A request goes out now."""
        if self.first_sent_at is None:
            self.first_sent_at = time.monotonic()
        self.under_way.set()

    def count(self, result: ImageResult) -> Progress:
        """One more image has its result; tell whoever draws progress."""
        self.last_stored_at = time.monotonic()
        self.under_way.set()
        before = self.progress
        self.progress = Progress(
            total=before.total,
            completed=before.completed + 1,
            succeeded=before.succeeded + result.success,
            failed=before.failed + (not result.success),
            reused=before.reused + result.reused,
            last=result,
            noun=before.noun,
        )
        if listener := on_progress.get():
            listener(self.progress)
        return self.progress


_open: dict[str, Workshop] = {}


def workshop_of(run_id: str) -> Workshop:
    """Return the open workshop of a run in this process.

    Raises:
        LedgerError: the run is not open here.
    """
    try:
        return _open[run_id]
    except KeyError:
        raise LedgerError(f"Run {run_id} is not open in this process.") from None


def stop_sending() -> bool:
    """Stop every open run of this process gently; what is on the wire still comes in.

    Returns whether there was a run to stop.
    """
    for shop in _open.values():
        shop.stopped = shop.stopped or RunStopped(
            "The run was stopped before this image was sent.",
            remedy="Nothing was paid for it; the same batch again makes it.",
        )
    return bool(_open)


@asynccontextmanager
async def opened(shop: Workshop) -> AsyncIterator[Workshop]:
    """Make the workshop findable and keep the run's heart beating while the body runs."""
    _open[shop.run.id] = shop
    heart = asyncio.create_task(_beat(shop))
    try:
        yield shop
    except asyncio.CancelledError:
        await asyncio.shield(shop.ledger.end_run(shop.run.id, "cancelled"))
        raise
    except Exception:
        with suppress(LedgerError):
            await shop.ledger.end_run(shop.run.id, "crashed")
        raise
    finally:
        _open.pop(shop.run.id, None)
        heart.cancel()
        with suppress(asyncio.CancelledError):
            await heart


async def _beat(shop: Workshop) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT.total_seconds())
        with suppress(LedgerError):  # a database away for a moment must not end the run
            await shop.ledger.beat(shop.run.id)
