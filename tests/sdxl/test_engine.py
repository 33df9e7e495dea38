"""The engine: who is drawn with whom, what a failure costs, and that nobody waits for ever."""

import asyncio
import logging
import threading
import weakref

import pytest

from imagemill.errors import (
    ImagemillError,
    ProviderError,
    ProviderMisconfigured,
    RequestError,
    RunStopped,
)
from imagemill.providers.sdxl import engine as engine_module
from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.frame import Bench
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.postprocess import Postprocess
from imagemill.providers.sdxl.preprocess import Preprocess
from imagemill.providers.sdxl.ticket import bare
from tests.sdxl.asking import (
    PATIENCE_S,
    asked,
    drawn,
    frames,
    options,
    pixels,
    png,
    submitted,
    until,
)


@pytest.fixture
def engine(tiny):
    """Makes engines and closes them."""
    made = []

    def start(*, generate=None, nodes=None, **changes):
        if generate is not None:
            nodes = (Preprocess(), generate, Postprocess())
        made.append(Engine(options(tiny, **changes), nodes=nodes))
        return made[-1]

    yield start
    for each in made:
        each.close()


class Gate(Generate):
    """Draws once it is opened; counts its calls."""

    def __init__(self):
        self.open, self.began, self.calls = threading.Event(), threading.Event(), []

    def run(self, frames, bench):
        self.calls.append(len(frames))
        self.began.set()
        assert self.open.wait(PATIENCE_S)
        return super().run(frames, bench)


class Failing(Generate):
    """Raises what it is told to, for those it is told to."""

    def __init__(self, wrong):
        self.wrong = wrong

    def run(self, frames, bench):
        if error := self.wrong(frames, bench):
            raise error
        return super().run(frames, bench)


def test_thirty_mixed_images_load_each_checkpoint_once(engine):
    """Asked for in turn, three checkpoints; each file is read once, and everything is answered."""
    gate = Gate()
    one = engine(generate=gate, bucket=4)
    names = ("first", "second", "third")
    tickets = submitted(
        one, [asked(f"fox {at}", model=names[at % 3], seed=at, bucket=4) for at in range(30)]
    )
    until(lambda: one.report().waiting >= 26)
    gate.open.set()
    data = [ticket.future.result(PATIENCE_S).data for ticket in tickets]
    assert len(set(data)) == 30
    report = one.report()
    assert report.loads == dict.fromkeys(names, 1)
    assert (report.images, report.releases, report.leaks) == (30, 2, 0)
    assert len(report.resident) == 1
    assert {"preprocess", "generate", "postprocess", "load"} <= set(report.seconds)


def test_words_of_different_length_do_not_share_a_call(engine):
    """Each length is drawn at its own, in one call for each; 200 tokens draw, none cut."""
    gate = Gate()
    one = engine(generate=gate)
    plug = one.submit(asked(), [], chunks=1)
    assert gate.began.wait(PATIENCE_S)
    long = "a " * 200
    words = [("a fox", 1), (long, 3), ("a hen", 1), (long + "b", 3)]
    tickets = [one.submit(asked(each, bucket=4), [], chunks=chunks) for each, chunks in words]
    until(lambda: one.report().waiting == 4)
    gate.open.set()
    pictures = {ticket.future.result(PATIENCE_S).data for ticket in [plug, *tickets]}
    assert len(pictures) == 5
    assert gate.calls == [1, 2, 2]
    with pytest.raises(ImagemillError, match="chunks of 75 tokens"):
        one.submit(asked(long, seed=2, bucket=4), [], chunks=1).future.result(PATIENCE_S)


def test_a_bucket_is_filled_in_the_order_of_asking(engine):
    """Six of a group in buckets of four: four and two, and two places are padding."""
    gate = Gate()
    one = engine(generate=gate)
    plug = one.submit(asked(), [], chunks=1)
    assert gate.began.wait(PATIENCE_S)
    tickets = submitted(one, [asked(seed=at, bucket=4) for at in range(6)])
    until(lambda: one.report().waiting == 6)
    gate.open.set()
    assert len({ticket.future.result(PATIENCE_S).data for ticket in [plug, *tickets]}) == 7
    assert gate.calls == [1, 4, 2]
    report = one.report()
    assert (report.calls, report.images, report.padding) == (3, 7, 2)


# --- out of memory -------------------------------------------------------------------------------


def short_of_memory(*, most, tiled_most=0):
    """A GPU on which calls of more than `most` images do not fit, nor `tiled_most` in tiles."""
    import torch

    def wrong(frames, bench):
        room = tiled_most if bench.tiled else most
        fits = frames[0].group.bucket <= room
        return None if fits else torch.OutOfMemoryError("CUDA out of memory")

    return wrong


def test_out_of_memory_halves_the_bucket_and_all_images_come(engine):
    """The facts say what each was drawn in, and the picture is the one of that smaller bucket."""
    one = engine(generate=Failing(short_of_memory(most=2)))
    requests = [asked(seed=at, bucket=4) for at in range(4)]
    found = frames(one, requests)
    assert [frame.facts["bucket_drawn"] for frame in found] == [2, 2, 2, 2]
    assert [frame.facts["bucket"] for frame in found] == [4, 4, 4, 4]
    report = one.report()
    assert report.out_of_memory >= 1
    assert report.images == 4
    smaller = drawn(engine(), [asked(seed=at, bucket=2) for at in range(4)])
    assert [frame.data for frame in found] == smaller


def test_an_image_that_does_not_fit_alone_is_drawn_in_tiles(engine):
    """Its facts say so; it is the picture but for the seams of the tiles."""
    import numpy as np

    one = engine(generate=Failing(short_of_memory(most=0, tiled_most=1)))
    found = frames(one, [asked()])[0]
    assert found.facts["tiled"] == 1
    plain = frames(engine(), [asked()])[0]
    assert found.data != plain.data
    apart = np.abs(pixels(found.data).astype(int) - pixels(plain.data))
    assert apart.mean() < 32
    # Nothing is left of it: a wide reference is not read in tiles afterwards.
    wide = asked(strength=0.6).model_copy(update={"aspect_ratio": "21:9"})
    one._gpu[0].wrong = lambda frames, bench: None
    assert drawn(one, [wide], references=[png()]) == drawn(engine(), [wide], references=[png()])


def test_what_does_not_fit_at_all_fails_alone(engine):
    """A clear error with the size in it, for the large image only; the others of the run come."""
    import torch

    def wrong(frames, bench):
        too_large = frames[0].width_px > 32
        return torch.OutOfMemoryError("CUDA out of memory") if too_large else None

    one = engine(generate=Failing(wrong))
    tickets = submitted(one, [asked(bucket=2), asked(size="512"), asked(size="512", seed=8)])
    with pytest.raises(ProviderError, match="64 x 64 px do not fit into this GPU's memory, even"):
        tickets[0].future.result(PATIENCE_S)
    assert tickets[1].future.result(PATIENCE_S).data
    assert tickets[2].future.result(PATIENCE_S).data
    assert one.report().out_of_memory == 3  # two, one, one in tiles


def test_a_checkpoint_without_room_is_tried_alone(engine, monkeypatch):
    """Nothing else stays resident then; without room even so, the error is told and the next works."""
    import torch

    from imagemill.providers.sdxl import weights

    real, left = weights.load_checkpoint, [1]

    def load(*args, **more):
        if left and left.pop() is not None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **more)

    monkeypatch.setattr(weights, "load_checkpoint", load)
    one = engine(max_resident=2)
    assert drawn(one, [asked()])
    assert one.report().out_of_memory == 1
    left[:] = [1, 1]
    with pytest.raises(ProviderError, match="OutOfMemoryError"):
        drawn(one, [asked(model="second")])
    assert drawn(one, [asked(model="second")])


def test_an_error_from_the_gpu_keeps_no_memory(engine):
    """What the failing call held is free while the error is still in hand, causes included."""
    import torch

    held = []

    class Holding(Generate):
        def run(self, frames, bench):
            tensor = torch.zeros(1000)
            held.append(weakref.ref(tensor))
            try:
                frames[99]
            except IndexError as error:
                if frames[0].seed == 1:
                    raise ProviderMisconfigured("a second one") from error
                raise ValueError("a second one") from None

    one = engine(generate=Holding())
    errors = []
    for seed in (1, 2):
        with pytest.raises(ImagemillError) as caught:
            one.submit(asked(seed=seed), [], chunks=1).future.result(PATIENCE_S)
        errors.append(caught.value)
    assert len(held) == 2
    until(lambda: all(ref() is None for ref in held))
    assert len(errors) == 2


def test_bare_takes_every_stack_off():
    """Of the cause and of what was being handled, both."""
    try:
        try:
            {}["handled"]
        except KeyError:
            try:
                int("cause")
            except ValueError as cause:
                raise TypeError("told") from cause
    except TypeError as error:
        found = bare(error)
    assert found.__cause__.__traceback__ is None
    assert found.__cause__.__context__.__traceback__ is None
    assert found.__traceback__ is None


# --- failing nodes -------------------------------------------------------------------------------


def test_a_failing_call_names_its_node_and_costs_only_its_bucket(engine, caplog):
    """By type and place, never by its words: they may quote a prompt."""

    def wrong(frames, bench):
        return ValueError("a secret fox") if any(each.seed == 2 for each in frames) else None

    one = engine(generate=Failing(wrong))
    with caplog.at_level(logging.DEBUG, "imagemill"):
        tickets = submitted(one, [asked("a secret fox", seed=seed) for seed in (1, 2, 3)])
        with pytest.raises(ProviderError, match=r"ValueError \(node: generate\)") as caught:
            tickets[1].future.result(PATIENCE_S)
    assert tickets[0].future.result(PATIENCE_S).data
    assert tickets[2].future.result(PATIENCE_S).data
    assert caught.value.remedy
    assert "Node generate failed: ValueError at" in caplog.text
    assert "secret" not in caplog.text + str(caught.value) + repr(caught.value)


def test_a_node_for_one_image_fails_that_image_alone(engine):
    """Before the GPU a damaged reference, after it a broken node; the bucket's others come."""

    class Frail(Postprocess):
        def run(self, frames, bench):
            if frames[0].seed == 2:
                raise OSError("the disk")
            return super().run(frames, bench)

    one = engine(nodes=(Preprocess(), Generate(), Frail()), bucket=4)
    damaged = one.submit(asked(strength=0.6), [b"no picture"], chunks=1)
    with pytest.raises(RequestError, match=r"damaged. \(node: preprocess\)"):
        damaged.future.result(PATIENCE_S)
    tickets = submitted(one, [asked(seed=seed, bucket=4) for seed in (1, 2, 3)])
    with pytest.raises(ProviderError, match=r"OSError \(node: postprocess\)"):
        tickets[1].future.result(PATIENCE_S)
    assert tickets[0].future.result(PATIENCE_S).data
    assert tickets[2].future.result(PATIENCE_S).data


def test_an_image_whose_numbers_overflow_fails_alone(engine):
    """The others of its call are drawn, and later GPU nodes do not see it."""
    import torch

    class Poisoned(Generate):
        def run(self, frames, bench):
            vae, real = bench.drawer.vae, bench.drawer.vae.decode
            bad = [at for at, each in enumerate(frames) if each.seed == 2]
            calls = []

            def decode(latents, **more):
                calls.append(1)
                nan = len(calls) - 1 in bad
                return real(torch.full_like(latents, float("nan")) if nan else latents, **more)

            vae.decode = decode
            try:
                return super().run(frames, bench)
            finally:
                del vae.decode

    seen = []

    class Looks:
        name, lane = "looks", "gpu"

        def run(self, frames, bench):
            seen.extend(each.seed for each in frames)
            return list(frames)

    one = engine(nodes=(Preprocess(), Poisoned(), Looks(), Postprocess()), linger_s=5)
    tickets = submitted(one, [asked(seed=seed, bucket=4) for seed in (1, 2, 3, 4)])
    with pytest.raises(ProviderError, match="half precision overflows") as caught:
        tickets[1].future.result(PATIENCE_S)
    assert "sdxl-vae-fp16-fix" in caught.value.remedy
    for at in (0, 2, 3):
        assert tickets[at].future.result(PATIENCE_S).data
    assert sorted(seen) == [1, 3, 4]
    lone = one.submit(asked(seed=2), [], chunks=1)
    with pytest.raises(ProviderError, match="overflows"):
        lone.future.result(PATIENCE_S)


def test_a_node_that_loses_an_image_is_told(engine):
    """Else its asker would wait for ever."""

    class Loses:
        name, lane = "loses", "gpu"

        def run(self, frames, bench):
            return list(frames)[1:]

    one = engine(nodes=(Preprocess(), Generate(), Loses(), Postprocess()))
    with pytest.raises(ProviderError, match=r"0 frames came back of 1. \(node: loses\)"):
        one.submit(asked(), [], chunks=1).future.result(PATIENCE_S)


def test_nodes_that_draw_nothing_are_told(engine, tiny):
    """Without a node for the GPU the engine does not start; without pixels there is no PNG."""
    with pytest.raises(ProviderMisconfigured, match="No node draws"):
        Engine(options(tiny), nodes=[Postprocess()])

    class Idle:
        name, lane = "idle", "gpu"

        def run(self, frames, bench):
            return list(frames)

    one = engine(nodes=[Idle(), Postprocess()])
    with pytest.raises(ProviderError, match="made no picture"):
        one.submit(asked(), [], chunks=1).future.result(PATIENCE_S)
    one = engine(nodes=[Generate(), Postprocess()])
    assert drawn(one, [asked()])
    some = one.submit(asked(), [], chunks=1).frame
    with pytest.raises(ProviderError, match="No checkpoint is resident"):
        Generate().run([some], Bench())


# --- a node more ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["gpu", "threads"])
def test_a_node_more_is_one_class(engine, lane):
    """Between generate and postprocess, on either lane; it is timed in the facts and in the report."""
    from dataclasses import replace

    class Upscale:
        name = "upscale"

        def __init__(self):
            self.lane, self.threads = lane, set()

        def run(self, frames, bench):
            self.threads.add(threading.current_thread().name)
            return [replace(each, pixels=each.pixels.repeat(2, 0).repeat(2, 1)) for each in frames]

    upscale = Upscale()
    one = engine(nodes=(Preprocess(), Generate(), upscale, Postprocess()))
    found = frames(one, [asked()])[0]
    assert pixels(found.data).shape == (128, 128, 3)
    assert list(found.seconds) == ["preprocess", "generate", "upscale", "postprocess"]
    assert "upscale" in one.report().seconds
    assert all(
        name.startswith("sdxl-gpu" if lane == "gpu" else "sdxl-node") for name in upscale.threads
    )


def test_the_gpu_draws_the_next_bucket_while_this_one_is_encoded(engine):
    """PNG is made on other threads: with all of them held up, the GPU goes on."""
    encode, names = threading.Event(), []

    class Held(Postprocess):
        def run(self, frames, bench):
            names.append(threading.current_thread().name)
            assert encode.wait(PATIENCE_S)
            return super().run(frames, bench)

    one = engine(nodes=(Preprocess(), Generate(), Held()))
    tickets = submitted(one, [asked(seed=seed) for seed in range(3)])
    until(lambda: one.report().images == 3)
    assert not any(ticket.future.done() for ticket in tickets)
    encode.set()
    assert all(ticket.future.result(PATIENCE_S).data for ticket in tickets)
    assert all(name.startswith("sdxl-node") for name in names)


# --- leaving, closing, idling --------------------------------------------------------------------


def test_who_left_is_not_drawn(engine):
    """Those who wait no more cost nothing; the others of the bucket are drawn without them."""
    gate = Gate()
    one = engine(generate=gate)
    plug = one.submit(asked(), [], chunks=1)
    assert gate.began.wait(PATIENCE_S)
    some = submitted(one, [asked(seed=seed, bucket=4) for seed in range(4)])
    gone = submitted(one, [asked(seed=seed, bucket=2) for seed in range(2)])
    until(lambda: one.report().waiting == 6)
    for ticket in [*some[:2], *gone]:
        ticket.leave()
    gate.open.set()
    assert plug.future.result(PATIENCE_S).data
    assert all(ticket.future.result(PATIENCE_S).data for ticket in some[2:])
    until(lambda: one.report().waiting == 0)
    assert gate.calls == [1, 2]
    assert all(ticket.future.cancelled() for ticket in [*some[:2], *gone])


def test_a_call_nobody_waits_for_stops_at_its_next_step(engine):
    """Not while one of its askers is there; the engine is free for the next."""
    steps, left = [], threading.Event()

    class Steps(Generate):
        def run(self, frames, bench):
            told = bench.stepped

            def stepped(step, count):
                steps.append(step)
                told(step, count)
                if step == 3:
                    left.set()
                    assert go.wait(PATIENCE_S)

            bench.stepped = stepped
            return super().run(frames, bench)

    go = threading.Event()
    one = engine(generate=Steps(), linger_s=5)
    tickets = submitted(one, [asked(seed=seed, bucket=2, steps=9) for seed in (1, 2)])
    assert left.wait(PATIENCE_S)
    assert (one.report().step, one.report().steps) == (3, 9)
    for ticket in tickets:
        ticket.leave()
    go.set()
    assert drawn(one, [asked()])
    assert steps == [1, 2, 3, 4, 1, 2]
    steps.clear()
    tickets = submitted(one, [asked(seed=seed, bucket=2, steps=5) for seed in (1, 2)])
    tickets[0].leave()
    assert tickets[1].future.result(PATIENCE_S).data


def test_closing_ends_every_wait(engine):
    """What is drawn, what is queued and what is still being prepared; later asks are refused."""
    prepare = threading.Event()

    class Slow(Preprocess):
        def run(self, frames, bench):
            if frames[0].seed == 99:
                assert prepare.wait(PATIENCE_S)
            return super().run(frames, bench)

    gate = Gate()
    one = engine(nodes=(Slow(), gate, Postprocess()))
    under_way = one.submit(asked(), [], chunks=1)
    assert gate.began.wait(PATIENCE_S)
    queued = submitted(one, [asked(seed=seed) for seed in (1, 2)])
    until(lambda: one.report().waiting == 2)
    preparing = one.submit(asked(seed=99), [], chunks=1)
    closing = threading.Thread(target=one.close)
    closing.start()
    until(lambda: one.closed)
    gate.open.set()
    until(lambda: not one._thread.is_alive())
    prepare.set()
    closing.join(PATIENCE_S)
    for ticket in [under_way, *queued, preparing]:
        with pytest.raises(RunStopped) as caught:
            ticket.future.result(PATIENCE_S)
        assert caught.value.remedy
    with pytest.raises(ProviderError, match="closed"):
        one.submit(asked(), [], chunks=1)
    one.close()
    assert one.report().resident == ()


def test_an_end_nobody_foresaw_ends_every_wait_too(engine, monkeypatch):
    """A thread that dies takes its askers' hope with it, in words."""
    gate = Gate()
    one = engine(generate=gate)
    first = one.submit(asked(), [], chunks=1)
    assert gate.began.wait(PATIENCE_S)
    second = one.submit(asked(seed=2), [], chunks=1)
    until(lambda: one.report().waiting == 1)
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    monkeypatch.setattr(engine_module, "choose", lambda *_args, **_more: 1 / 0)
    gate.open.set()
    assert first.future.result(PATIENCE_S).data
    with pytest.raises(RunStopped):
        second.future.result(PATIENCE_S)
    assert one.closed


def test_idle_for_long_enough_the_weights_go_and_come_back(engine):
    """Nothing is resident then; the next image loads again and is the same."""
    one = engine(keep_alive_s=0.05)
    before = drawn(one, [asked()])
    until(lambda: one.report().resident == ())
    assert one.report().leaks == 0
    assert drawn(one, [asked()]) == before
    assert one.report().loads == {"first": 2}
    assert one.report().releases >= 1


async def test_a_gpu_that_gave_up_ends_the_lane_and_says_so(tiny, monkeypatch):
    """Every further call would fail alike: the run stops sending, the lane's process leaves with 70."""
    import torch

    from imagemill.errors import GpuLost
    from imagemill.providers.sdxl import engines
    from tasks import gpu

    class Gone(Generate):
        def run(self, frames, bench):
            raise torch.AcceleratorError(
                "CUDA error: an illegal memory access was encountered", 700
            )

    left, some = asyncio.Event(), options(tiny)
    monkeypatch.setattr(gpu, "LAST_WORDS_S", 0)
    nodes = [Preprocess(), Gone(), Postprocess()]
    engine = engines.engine_of(some, lambda made: Engine(made, nodes=nodes))
    try:
        gpu.leave_if_gpu_is_lost(lambda _code: left.set())
        ticket = engine.submit(asked(), (), chunks=1)
        with pytest.raises(GpuLost, match="context is gone"):
            await asyncio.wrap_future(ticket.future)
        codes = []
        gpu.leave_if_gpu_is_lost(lambda code: (codes.append(code), left.set()))
        await left.wait()
    finally:
        engines.close_engines()
    assert codes == [gpu.LOST]
