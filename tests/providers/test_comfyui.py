"""One image from a ComfyUI server: what is sent, what comes back, and how long is waited."""

import asyncio
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagemill.decode import decoded
from imagemill.errors import (
    ImagemillError,
    ProviderMisconfigured,
    ProviderUnavailable,
    UnsupportedRequest,
)
from imagemill.providers.comfyui import ComfyUIProvider, Patience, load_workflow
from imagemill.providers.comfyui.patience import Clock
from imagemill.providers.comfyui.provider import without_metadata
from tests.builders import image_request
from tests.providers.comfy_graphs import CHECKPOINT, panel, with_reference
from tests.wire.comfy import FakeComfy
from tests.wire.pixels import png

CANARY = "xyzzycanary"


def asked(provider, **changes):
    able = provider.capabilities()
    fields = {
        "provider": "comfyui", "model": able.model, "size": able.default_size, "seed": 7,
        "prompt": f"a {CANARY} in the snow", "negative_prompt": f"no {CANARY}",
    }  # fmt: skip
    return image_request(**{**fields, **changes})


async def until(event):
    assert await asyncio.to_thread(event.wait, 10)


def job_of(comfy):
    (job,) = comfy.submitted
    return job


async def test_the_request_is_written_into_the_workflow(comfy, drawer):
    """Words, seed, size and a prefix of its own; the rest of the graph as exported; one submission."""
    drawn = drawer()
    await drawn.generate(asked(drawn, aspect_ratio="16:9"))
    graph = job_of(comfy).graph
    assert graph["6"]["inputs"]["text"] == f"a {CANARY} in the snow"
    assert graph["7"]["inputs"]["text"] == f"no {CANARY}"
    assert (graph["3"]["inputs"]["seed"], graph["3"]["inputs"]["steps"]) == (7, 20)
    assert (graph["5"]["inputs"]["width"], graph["5"]["inputs"]["height"]) == (80, 48)
    assert graph["9"]["inputs"]["filename_prefix"].startswith("imagemill/")
    assert CANARY not in graph["9"]["inputs"]["filename_prefix"]


async def test_the_picture_is_whole_and_says_nothing_of_the_prompt(comfy, drawer):
    """ComfyUI writes the graph into its files; pixels alone are handed on, and they are the same."""
    drawn = drawer()
    image = await drawn.generate(asked(drawn))
    (written,) = comfy._files.values()
    assert CANARY.encode() in written
    assert CANARY.encode() not in image.data
    with Image.open(BytesIO(image.data)) as kept, Image.open(BytesIO(written)) as theirs:
        assert kept.info == {}
        assert kept.tobytes() == theirs.tobytes()
    assert (decoded(image.data).media_type, image.cost_usd) == ("image/png", 0)
    assert image.facts["cached_nodes"] == 0


async def test_a_second_attempt_has_a_name_of_its_own_and_draws_nothing_again(comfy, drawer):
    """A fresh prefix gets past the cache; all before the save node stays cached."""
    drawn = drawer()
    first, second = [await drawn.generate(asked(drawn)) for _ in range(2)]
    assert first.data == second.data
    prefixes = {job.graph["9"]["inputs"]["filename_prefix"] for job in comfy.submitted}
    assert (len(prefixes), len({job.id for job in comfy.submitted})) == (2, 2)
    assert second.facts["cached_nodes"] == len(panel()) - 1


async def test_without_a_seed_one_is_drawn_and_told(comfy, drawer):
    """So that the picture can be asked for again."""
    drawn = drawer()
    image = await drawn.generate(asked(drawn, seed=None))
    assert image.seed == job_of(comfy).graph["3"]["inputs"]["seed"]
    assert 0 <= image.seed < 2**31


async def test_a_reference_is_uploaded_and_named_as_the_server_calls_it(comfy, drawer):
    """The name that /upload/image answers goes into the LoadImage node."""
    drawn = drawer(with_reference())
    data = png(b"reference", width_px=16, height_px=16)
    assert drawn.capabilities().reference_images == 1
    assert drawn.capabilities().aspect_ratios == ("1:1",)
    await drawn.generate(asked(drawn, references=("ab" * 32,)), [data])
    ((name, kept),) = comfy.uploads.items()
    assert (job_of(comfy).graph["10"]["inputs"]["image"], kept) == (name, data)


async def test_words_to_avoid_that_a_workflow_has_no_place_for_are_noted(comfy, drawer):
    """Told in the manifest, not dropped in silence."""
    drawn = drawer(mapping={"positive": "6", "seed": "3", "sampler": "8"})
    assert drawn.capabilities().negative_prompt is False
    image = await drawn.generate(asked(drawn))
    assert "not used" in str(image.facts["negative_prompt"])
    assert job_of(comfy).graph["7"] == panel()["7"]


async def test_models_sizes_and_ratios_outside_the_workflow_are_refused(comfy, drawer):
    """Before anything is sent."""
    drawn = drawer()
    assert drawn.capabilities(CHECKPOINT.rsplit(".", 1)[0]) == drawn.capabilities()
    for changes in ({"size": "1K"}, {"aspect_ratio": "8:1"}, {"references": ("ab" * 32,)}):
        with pytest.raises(UnsupportedRequest):
            await drawn.generate(asked(drawn, **changes))
    assert comfy.paths == []


# --- waiting -------------------------------------------------------------------------------------


async def test_a_lost_answer_to_a_submission_is_looked_for_and_not_sent_twice(comfy, drawer):
    """The id is ours: the server took the graph and the connection broke, or a gateway gave up."""
    for kind in ("drop_after", "gateway_taken"):
        comfy.fail(kind, times=1)
        drawn = drawer()
        await drawn.generate(asked(drawn, seed=len(comfy.submitted)))
    assert len(comfy.submitted) == len(comfy.history) == 2


async def test_a_server_that_names_prompts_itself_is_followed_by_its_id(comfy, drawer):
    """Old ones ignore ours."""
    comfy.fail("old_server")
    drawn = drawer()
    assert (await drawn.generate(asked(drawn))).data


async def test_an_image_between_queue_and_history_is_not_lost(comfy, drawer):
    """It may end between the two questions: two misses in a row are borne, a third is not."""
    drawn = drawer()
    comfy.polls = ["blank"] * 2 * 2
    assert (await drawn.generate(asked(drawn))).data
    comfy.polls = ["blank"] * 3 * 2
    with pytest.raises(ProviderUnavailable, match="lost the image"):
        await drawn.generate(asked(drawn))


async def test_misses_count_in_a_row(comfy, drawer):
    """An image that was seen in between is not lost."""
    comfy.latency_s = 0.5
    comfy.polls = [*["blank"] * 4, "", "", *["blank"] * 4, "", ""]
    drawn = drawer()
    assert (await drawn.generate(asked(drawn))).data
    assert len(comfy.submitted) == 1


def test_the_clock_of_an_image_begins_with_its_drawing():
    """Behind others another one runs; and being away counts since the last answer."""
    now = [0.0]
    patience = Patience(run_s=300, queue_s=1800, away_s=45)
    clock = Clock(patience, clock=lambda: now[0])
    gone = ProviderUnavailable("away")

    def at(seconds, place):
        now[0] = seconds
        return clock.late(place)

    assert [at(1799, "pending"), at(1800, "running"), at(2099, "running")] == [None] * 3
    assert "300 s" in str(at(2101, "running"))
    waiting = Clock(patience, clock=lambda: now[0])
    now[0] += 1801
    assert "1800 s" in str(waiting.late("pending"))
    for start in (10_000, 10_040):
        now[0] = start
        clock.away(gone)
        now[0] = start + 39
        clock.away(gone)
        clock.late("running")
    now[0] = 20_000
    clock.away(gone)
    now[0] = 20_046
    with pytest.raises(ProviderUnavailable, match="away"):
        clock.away(gone)


def test_nothing_but_pixels_is_kept_of_a_picture():
    """Text, profile and Exif of a file may all tell; alpha stays."""
    picture, out = Image.new("RGBA", (8, 8), (1, 2, 3, 4)), BytesIO()
    exif = Image.Exif()
    exif[0x010E] = CANARY
    told = PngInfo()
    told.add_text("prompt", CANARY)
    picture.save(out, "PNG", exif=exif, pnginfo=told, icc_profile=CANARY.encode() * 9)
    with Image.open(BytesIO(without_metadata(out.getvalue()))) as kept:
        assert (kept.info, dict(kept.getexif())) == ({}, {})
        assert (kept.mode, kept.getpixel((0, 0))) == ("RGBA", (1, 2, 3, 4))


async def test_no_proxy_of_the_environment_is_between_us_and_the_server(comfy, drawer, monkeypatch):
    """Only settings read the environment; a proxy would see prompts."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    drawn = drawer()
    assert (await drawn.generate(asked(drawn))).data


async def test_a_server_that_is_away_for_a_moment_is_waited_for(comfy, drawer):
    """Polls that get no answer say nothing about the image."""
    comfy.polls = ["drop", "trouble"] * 2
    drawn = drawer()
    assert (await drawn.generate(asked(drawn))).data
    assert len(comfy.submitted) == 1


async def test_a_server_that_lets_nobody_look_is_not_asked_for_ever(comfy, drawer):
    """Somebody put a login before it."""
    comfy.polls = ["no access"]
    drawn = drawer()
    with pytest.raises(ProviderMisconfigured, match=r"no ComfyUI .HTTP 401"):
        await drawn.generate(asked(drawn))


async def test_a_server_that_stays_away_is_given_up(comfy, drawer):
    """After a time, as one to ask again later."""
    comfy.polls = ["drop"] * 10**6
    drawn = drawer(away_s=0.05)
    with pytest.raises(ProviderUnavailable, match="did not answer"):
        await drawn.generate(asked(drawn))


async def test_an_image_that_runs_too_long_is_stopped_there(comfy, drawer):
    """Deleted and interrupted, by its id; the worker is free for the next one."""
    comfy.fail("stall", nth=[1])
    drawn = drawer(run_s=0.05)
    with pytest.raises(ProviderUnavailable, match=r"longer than 0.05 s.*timeout_s"):
        await drawn.generate(asked(drawn))
    job = job_of(comfy)
    assert (comfy.deleted, comfy.interrupts) == ([job.id], [job.id])
    patient = drawer()
    assert (await patient.generate(asked(patient, seed=8))).data


async def test_time_behind_others_is_not_the_images_own(comfy, drawer):
    """The clock starts with the drawing; the wait in the queue has one of its own, and an end."""
    comfy.fail("stall", nth=[1])
    drawn, other = drawer(run_s=60), drawer(run_s=0.05, queue_s=0.3)
    first = asyncio.create_task(drawn.generate(asked(drawn)))
    await until(comfy.began)
    with pytest.raises(ProviderUnavailable, match=r"waited 0.3 s behind others"):
        await other.generate(asked(other, seed=8))
    assert comfy.interrupts == []
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_cancelled_run_cancels_its_image_and_nobody_elses(comfy, drawer):
    """The running one is interrupted by its id; one that waits is only taken off the queue."""
    comfy.fail("stall", nth=[1])
    drawn = drawer()
    running = asyncio.create_task(drawn.generate(asked(drawn)))
    await until(comfy.began)
    waiting = asyncio.create_task(drawn.generate(asked(drawn, seed=8)))
    for _ in range(2):
        assert await asyncio.to_thread(comfy.taken.acquire, timeout=10)
    for task in (waiting, running):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert comfy.deleted == [comfy.submitted[1].id, comfy.submitted[0].id]
    assert comfy.interrupts == [comfy.submitted[0].id]


# --- the address ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["ftp://x", "127.0.0.1:8188", "http://me:secret@host", "http://h/?a=1", "http://h:no/"]
)
def test_an_address_that_cannot_be_asked_is_refused(url):
    """Not repeated, since it may hold a password."""
    with pytest.raises(ProviderMisconfigured) as refused:
        ComfyUIProvider(load_workflow(), base_url=url)
    assert "secret" not in str(refused.value)


def test_the_default_address_is_comfyuis_own():
    """Nothing configured: where it listens by itself. A slash at the end makes no difference."""
    workflow = load_workflow()
    assert ComfyUIProvider(workflow).base_url == "http://127.0.0.1:8188"
    assert ComfyUIProvider(workflow, base_url="https://box/comfy/").base_url == "https://box/comfy"


async def test_the_check_names_version_and_what_is_missing(drawer):
    """Nodes and checkpoints are looked for before any run; what is there is told."""
    assert await drawer().version() == "0.3.64"
    nodes = panel() | {"99": {"class_type": "IPAdapterAdvanced", "inputs": {}}}
    with pytest.raises(ProviderMisconfigured, match=r"no node 'IPAdapterAdvanced'.*custom nodes"):
        await drawer(nodes).check_configuration()
    with pytest.raises(
        ProviderMisconfigured,
        match=rf"no checkpoint 'mine.ckpt'; it has: {CHECKPOINT}.*_CHECKPOINT",
    ):
        await drawer(panel(n4={"ckpt_name": "mine.ckpt"})).check_configuration()


async def test_a_server_that_is_not_there_is_named_with_the_variable():
    """Nothing listens."""
    with FakeComfy() as gone:
        url = gone.url
    drawn = ComfyUIProvider(load_workflow(), base_url=url)
    for ask in (drawn.check_configuration, lambda: drawn.generate(asked(drawn))):
        with pytest.raises(
            ProviderUnavailable, match=r"not reachable.*IMAGEMILL_COMFYUI_URL"
        ) as no:
            await ask()
        assert isinstance(no.value, ImagemillError)
        assert no.value.__context__ is None
