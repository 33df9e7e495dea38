"""The engine: one thread that owns the GPU, a queue of images, and the nodes they walk through.

It lives as long as its process: checkpoints stay resident from run to run (`engines`).
"""

import gc
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress

from imagemill.errors import GpuLost, ProviderError, ProviderMisconfigured, RunStopped
from imagemill.providers.sdxl.buckets import Choice, Group, Waiting, choose, group_of
from imagemill.providers.sdxl.drawer import Drawer
from imagemill.providers.sdxl.frame import Bench, Frame, Node, run_node
from imagemill.providers.sdxl.ladder import smaller, too_large
from imagemill.providers.sdxl.loading import Place, place_of
from imagemill.providers.sdxl.memory import cap, figures, out_of_memory
from imagemill.providers.sdxl.nodes import standard_nodes
from imagemill.providers.sdxl.options import SdxlOptions
from imagemill.providers.sdxl.sizes import pixel_size
from imagemill.providers.sdxl.tally import EngineReport, Tally
from imagemill.providers.sdxl.ticket import Ticket, bare, fail, seed_of
from imagemill.providers.sdxl.weights import Weights
from imagemill.request import ImageRequest

ENCODERS = 4
"""Threads for nodes that need no GPU: one PNG takes 0.2 s of a core, one bucket of 4 more than 2 s."""


class Engine:
    """Draws SDXL images in buckets. Safe from several threads.

    Args:
        options: What the GPU owner set.
        nodes: What an image walks through; None is preprocess, generate, postprocess.

    Raises:
        ProviderMisconfigured: torch or the device is not there; no node is for the GPU.
    """

    def __init__(self, options: SdxlOptions, *, nodes: Sequence[Node] | None = None) -> None:
        self.options = options
        self.place: Place = place_of(options)
        cap(self.place, options.vram_cap_gb)
        self._tally = Tally()
        self._weights = Weights(options, self.place, self._tally)
        made = list(nodes or standard_nodes(options, self.place))
        gpu = [at for at, node in enumerate(made) if node.lane == "gpu"]
        if not gpu:
            raise ProviderMisconfigured(
                "No node draws.", remedy="Put `Generate()` among the nodes."
            )
        self._before, self._gpu = made[: gpu[0]], made[gpu[0] : gpu[-1] + 1]
        self._after = made[gpu[-1] + 1 :]
        self._queues: dict[Group, deque[Ticket]] = {}
        self._changed = threading.Condition()
        self._idle_since_s = time.monotonic()
        self._closed = False
        self.lost = False
        self._resident: frozenset[str] = frozenset()
        self._threads = ThreadPoolExecutor(ENCODERS, thread_name_prefix="sdxl-node")
        self._thread = threading.Thread(target=self._work, name="sdxl-gpu", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its thread ended by what nobody foresaw."""
        return self._closed

    def submit(self, request: ImageRequest, references: Sequence[bytes], *, chunks: int) -> Ticket:
        """Ask for one image. `request` is completed; `chunks` of 75 tokens hold its words.

        Raises:
            ProviderError: the engine is closed.
        """
        how = request.diffusion
        width_px, height_px = pixel_size(
            request.size, request.aspect_ratio, native_px=self.options.native_px
        )
        frame = Frame(
            request=request, references=tuple(references), width_px=width_px, height_px=height_px,
            group=group_of(request)._replace(chunks=chunks), seed=seed_of(request),
            facts={"bucket": how.bucket if how else 1},
        )  # fmt: skip
        ticket = Ticket(frame)
        with self._changed:
            if self._closed:
                raise ProviderError("The SDXL engine is closed.", remedy="Start the run again.")
            self._threads.submit(self._prepared, ticket)
        return ticket

    def report(self) -> EngineReport:
        """Return what was done so far, and what is under way."""
        with self._changed:
            waiting = sum(len(queue) for queue in self._queues.values())
        return self._tally.report(
            waiting=waiting, resident=tuple(sorted(self._resident)), **figures(self.place)
        )

    def close(self) -> None:
        """End the call under way, drop what waits, free the memory; the engine is not used again.

        Who still waits is told `RunStopped`.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._threads.shutdown()

    def _prepared(self, ticket: Ticket) -> None:
        """Run the nodes before the GPU's, then queue. On a thread."""
        try:
            for node in self._before:
                [ticket.frame] = self._timed(node, [ticket.frame], Bench())
        except BaseException as error:
            fail([ticket], error)
            return
        with self._changed:
            if not self._closed:
                self._queues.setdefault(ticket.frame.group, deque()).append(ticket)
                self._changed.notify_all()
                return
        fail([ticket], _closed())

    def _finished(self, ticket: Ticket, frame: Frame) -> None:
        """Run the nodes after the GPU's, then answer. On a thread."""
        if ticket.left:
            return
        try:
            for node in self._after:
                [frame] = self._timed(node, [frame], Bench())
        except BaseException as error:
            fail([ticket], error)
            return
        with suppress(InvalidStateError):  # nobody waits for it any more
            ticket.future.set_result(frame)

    def _timed(self, node: Node, frames: Sequence[Frame], bench: Bench) -> list[Frame]:
        done = run_node(node, frames, bench)
        self._tally.took(node.name, done[0].seconds[node.name] if done else 0.0)
        return done

    def _work(self) -> None:
        try:
            while (tickets := self._next()) is not None:
                self._turn(tickets)
            self._weights.unload()
        finally:  # whatever ended the thread: nobody waits for ever
            with self._changed:
                self._closed = True
                dropped = [ticket for queue in self._queues.values() for ticket in queue]
                self._queues.clear()
            self._resident = frozenset()
            fail(dropped, _closed())

    def _turn(self, tickets: list[Ticket]) -> None:
        if tickets:
            try:
                self._draw(tickets)
            except BaseException as error:
                fail(tickets, error)
        else:
            self._weights.unload()  # nothing came for `keep_alive_s`
        self._resident = self._weights.resident
        self._tally.stepped(0, 0)
        self._idle_since_s = time.monotonic()

    def _next(self) -> list[Ticket] | None:
        """Wait for the next bucket. [] is nothing to do for `keep_alive_s`; None the end."""
        keep_s = self.options.keep_alive_s or None
        with self._changed:
            while not self._closed:
                choice = self._choice()
                if choice.group is not None:
                    if taken := self._take(choice.group):
                        return taken
                    continue
                idle = choice.wait_s is None
                wait_s = keep_s if idle and self._resident else choice.wait_s
                if not self._changed.wait(wait_s) and idle and self._resident:
                    return []
        return None

    def _choice(self) -> Choice:
        waiting = {
            group: Waiting(len(queue), queue[0].since_s) for group, queue in self._queues.items()
        }
        return choose(
            waiting, resident=self._resident, now_s=time.monotonic(),
            idle_since_s=self._idle_since_s, linger_s=self.options.linger_s,
            max_wait_s=self.options.max_wait_s,
        )  # fmt: skip

    def _take(self, group: Group) -> list[Ticket]:
        """Take a bucket off the queue, without those that nobody waits for any more."""
        queue = self._queues[group]
        taken: list[Ticket] = []
        while queue and len(taken) < group.bucket:
            ticket = queue.popleft()
            if not ticket.left:
                taken.append(ticket)
        if not queue:
            del self._queues[group]
        return taken

    def _draw(self, tickets: list[Ticket]) -> None:
        """Draw a bucket and hand its images to the threads; a failure goes to those it concerns."""
        now_s = time.monotonic()
        bench = Bench(
            stopped=lambda: self._closed or all(ticket.left for ticket in tickets),
            stepped=self._tally.stepped,
        )
        bench.drawer = self._drawer_for(tickets[0].frame.group)
        ready_s = round(time.monotonic() - now_s, 3)
        frames = [
            ticket.frame.with_facts(queue_s=round(now_s - ticket.since_s, 3), checkpoint_s=ready_s)
            for ticket in tickets
        ]
        for at, drawn in self._drawn(frames, bench):
            if isinstance(drawn, Frame):
                self._threads.submit(self._finished, tickets[at], drawn)
            else:
                fail([tickets[at]], drawn)

    def _drawer_for(self, group: Group) -> Drawer:
        """Return what draws a group. Where there is no room for it, nothing else stays resident."""
        try:
            return self._weights.drawer_for(group)
        except Exception as error:
            if not out_of_memory(error):
                raise
            bare(error)
        self._ran_out()
        self._weights.unload()
        return self._weights.drawer_for(group)

    def _drawn(self, frames: list[Frame], bench: Bench) -> list[tuple[int, Frame | BaseException]]:
        """Return each image or why there is none. Out of memory, the bucket is halved, then tiled."""
        todo = [(0, frames, bench)]
        found: list[tuple[int, Frame | BaseException]] = []
        while todo:
            first, part, here = todo.pop()
            outcome = self._called(part, here)
            if isinstance(outcome, list):
                found += [(first + at, each.failure or each) for at, each in enumerate(outcome)]
            elif not out_of_memory(outcome):
                found += [(first + at, outcome) for at in range(len(part))]
            elif (rungs := smaller(part, here)) is not None:
                self._ran_out()
                todo += [(first + at, some, there) for at, some, there in rungs]
            else:
                self._ran_out()
                found += [(first + at, too_large(part[0])) for at in range(len(part))]
        return found

    def _called(self, frames: list[Frame], bench: Bench) -> list[Frame] | BaseException:
        """Run the GPU's nodes once; an error is returned without the stack that holds tensors."""
        try:
            done = frames
            for node in self._gpu:
                done = self._past(node, done, bench)
        except BaseException as error:
            self.lost = self.lost or isinstance(error, GpuLost)
            return bare(error)
        self._tally.drawn(images=len(done), bucket=frames[0].group.bucket)
        return done

    def _past(self, node: Node, frames: list[Frame], bench: Bench) -> list[Frame]:
        """Run a node on the frames that did not fail before it, and put the others back in place."""
        whole = [frame for frame in frames if frame.failure is None]
        done = iter(self._timed(node, whole, bench) if whole else ())
        return [next(done) if frame.failure is None else frame for frame in frames]

    def _ran_out(self) -> None:
        self._tally.ran_out()
        gc.collect()
        if self.place.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def _closed() -> RunStopped:
    return RunStopped("The SDXL engine was closed before this image.", remedy="Ask for it again.")
