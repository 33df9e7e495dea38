import asyncio
import io
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from imagemill.bounds import ASPECT_RATIOS
from imagemill.errors import ContentBlocked, ProviderUnavailable, RateLimited, UnsupportedRequest
from imagemill.prompt import find_style, shelf
from imagemill.providers.base import ImageProvider
from imagemill.providers.sketch import SketchFaults, SketchProvider, pixel_size
from imagemill.providers.sketch.drawing import marks, vocabulary
from imagemill.providers.sketch.lexicon import PLACES, TIMES, WEATHER
from imagemill.providers.sketch.provider import draw, words_of
from imagemill.providers.sketch.techniques import TECHNIQUES
from imagemill.providers.sketch.words import MAX_THINGS, understand
from tests.builders import image_request


def asked(words, **changes):
    return image_request(prompt=words, subject=words, **changes)


def picture(words, style="Flat Corporate", **changes):
    data = draw(asked(words, style=style, **changes), find_style(style))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def only(words):
    (subject,) = understand(words).subjects
    return subject


def the_digest(words="a red fox"):
    return asked(words).prompt_digest


def test_it_is_a_provider():
    """The sketch provider keeps the ImageProvider protocol, embedded and free at every size."""
    provider = SketchProvider()
    assert isinstance(provider, ImageProvider)
    able = provider.capabilities()
    assert (able.provider, able.model, able.embedded, able.seed) == (
        "sketch",
        "sketch-1",
        True,
        True,
    )
    assert set(able.sizes) == {"256", "512", "1K", "2K"}
    assert set(able.sizes.values()) == {Decimal(0)}
    assert able.reference_images == 0
    assert set(able.aspect_ratios) == set(ASPECT_RATIOS)


async def test_answers_with_a_labelled_free_png():
    """An image comes back as PNG, costs nothing and says honestly that it is a drawing."""
    provider = SketchProvider(latency_s=0.001)
    await provider.check_configuration()
    made = await provider.generate(asked("a red fox", seed=7))
    await provider.aclose()
    assert made.data.startswith(b"\x89PNG")
    assert (made.media_type, made.cost_usd, made.seed) == ("image/png", Decimal(0), 7)
    assert made.facts["kind"] == "procedural drawing"


@pytest.mark.parametrize("style", list(shelf()))
def test_the_same_request_gives_the_same_bytes(style):
    """Equal requests give byte-identical files, in every style."""
    request, look = asked("two owls in the forest at night", style=style, seed=3), find_style(style)
    assert draw(request, look) == draw(request, look)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"sample": 1}, {"prompt": "a blue whale", "subject": "a blue whale"}]
)
def test_another_request_gives_another_picture(change):
    """Another seed, sample or prompt is another picture."""
    style = find_style("Flat Corporate")
    assert draw(image_request(), style) != draw(image_request(**change), style)


def test_every_style_looks_its_own_way():
    """Each style on the shelf draws the same words differently."""
    pictures = {style: picture("a red fox in the snow", style).tobytes() for style in shelf()}
    assert len(set(pictures.values())) == len(pictures)


def test_every_style_names_a_known_technique():
    """No shipped style falls back to plain drawing by a misspelled technique."""
    assert {style.technique for style in shelf().values()} == set(TECHNIQUES)


def test_the_vocabulary_can_be_drawn():
    """At least seventy subjects are known, and each has marks within reach of its box."""
    assert len(vocabulary()) >= 70
    for name in vocabulary():
        points = np.concatenate([mark.points for mark in marks(name)])
        assert points.min() > -25, name
        assert points.max() < 125, name


@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
def test_the_size_is_exact_at_every_aspect_ratio(ratio):
    """The picture has exactly the pixels that `pixel_size` promises: multiples of 8, right area."""
    width_px, height_px = pixel_size("256", ratio)
    assert picture("a fox", aspect_ratio=ratio).shape == (height_px, width_px, 3)
    assert width_px % 8 == height_px % 8 == 0
    assert width_px * height_px == pytest.approx(256 * 256, rel=0.06)


@pytest.mark.parametrize(("size", "side"), [("256", 256), ("512", 512), ("1K", 1024), ("2K", 2048)])
def test_a_named_size_is_a_square(size, side):
    """A size names the side of its square."""
    assert pixel_size(size, "1:1") == (side, side)


def test_pixel_style_is_a_grid_of_few_colours():
    """Pixel Art has at most 64 colours, and its blocks are of one colour each."""
    pixels = picture("a knight and a castle", "Pixel Art", size="512")
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= 64
    block = 512 // 96
    cells = pixels[: 512 // block * block, : 512 // block * block]
    corners = cells[::block, ::block].repeat(block, axis=0).repeat(block, axis=1)
    assert (cells == corners).all()


def test_colour_words_colour_the_subject():
    """A red fox has more red than a blue fox, and the blue one more blue."""
    red, blue = (picture(f"a {colour} fox").sum(axis=(0, 1)) for colour in ("red", "blue"))
    assert red[0] > blue[0]
    assert blue[2] > red[2]


async def test_drawing_leaves_the_loop_free():
    """While a picture is drawn, other tasks on the loop go on: each is answered many times."""
    drawing = asyncio.create_task(
        SketchProvider().generate(asked("a red fox", style="Watercolor", size="1K"))
    )
    beats = 0
    while not drawing.done():
        await asyncio.sleep(0)
        beats += 1
    assert (await drawing).data
    assert beats > 20


async def test_concurrent_drawings_do_not_disturb_each_other():
    """Pictures drawn at once are those drawn alone."""
    requests = [asked(words, style="Storybook") for words in ("a fox", "a whale", "a castle")]
    together = await asyncio.gather(*(SketchProvider().generate(r) for r in requests))
    assert [t.data for t in together] == [draw(r, find_style("Storybook")) for r in requests]


@pytest.mark.parametrize(
    "change", [{"size": "4K"}, {"aspect_ratio": "5:7"}, {"references": ("0" * 64,)}]
)
async def test_what_it_cannot_do_is_refused(change):
    """Requests outside the capabilities are refused, by the check and by `generate`."""
    request = image_request(**change)
    with pytest.raises(UnsupportedRequest):
        SketchProvider().capabilities().check(request)
    with pytest.raises(UnsupportedRequest):
        await SketchProvider().generate(request)


async def test_reference_bytes_and_other_models_are_refused():
    """Reference images and unknown models are refused with the allowed alternative."""
    with pytest.raises(UnsupportedRequest, match="reference"):
        await SketchProvider().generate(image_request(), [b"png"])
    with pytest.raises(UnsupportedRequest, match="sketch-1"):
        SketchProvider().capabilities("sketch-9")


async def test_a_server_away_comes_back():
    """`unavailable_once` fails the first attempt and not the second; other prompts never."""
    provider = SketchProvider(faults=SketchFaults(unavailable_once=frozenset({the_digest()})))
    with pytest.raises(ProviderUnavailable):
        await provider.generate(asked("a red fox"))
    assert (await provider.generate(asked("a red fox"))).data
    assert (await provider.generate(asked("a blue whale"))).data


async def test_a_rate_limit_says_how_long_to_wait():
    """`rate_limited_once` fails the first attempt with its `retry_after_s`, then draws."""
    faults = SketchFaults(rate_limited_once=frozenset({the_digest()}), retry_after_s=1.5)
    provider = SketchProvider(faults=faults)
    with pytest.raises(RateLimited) as caught:
        await provider.generate(asked("a red fox"))
    assert caught.value.retry_after_s == 1.5
    assert (await provider.generate(asked("a red fox"))).data


async def test_blocked_stays_blocked_and_names_no_words():
    """`blocked` refuses every attempt, and its message has the digest, not the prompt."""
    provider = SketchProvider(faults=SketchFaults(blocked=frozenset({the_digest()})))
    for _ in range(2):
        with pytest.raises(ContentBlocked) as caught:
            await provider.generate(asked("a red fox"))
        assert the_digest() in str(caught.value)
        assert "fox" not in str(caught.value)


async def test_an_unknown_style_is_drawn_plainly():
    """A style that is not on the shelf, and a technique no one knows, still give a picture."""
    made = await SketchProvider().generate(asked("a red fox", style="No Such Style"))
    assert made.facts["technique"] == "flat"
    odd = find_style("Anime").model_copy(update={"technique": "mosaic", "palette": ()})
    assert draw(asked("a red fox"), odd)


async def test_the_users_own_style_is_used(tmp_path):
    """A style of the user's folder decides the technique."""
    (tmp_path / "own.toml").write_text(
        'name = "Own"\ndescription = ""\ntemplate = "{prompt}"\ntechnique = "neon"\n'
    )
    provider = SketchProvider(styles_folder=tmp_path)
    assert (await provider.generate(asked("a fox", style="Own"))).facts["technique"] == "neon"


@pytest.mark.parametrize("technique", list(TECHNIQUES))
@pytest.mark.parametrize(
    "words",
    [
        "quantum vibes",
        "rain",
        "a lamp at night",
        "boat on the sea",
        "a fox by a house",
        "lamp on a table at night",
    ],
)
def test_any_words_in_any_technique_give_a_picture(technique, words):
    """No combination of words and technique fails, even for a style without a palette."""
    style = find_style("Flat Corporate").model_copy(update={"technique": technique, "palette": ()})
    image = Image.open(io.BytesIO(draw(asked(words), style)))
    assert len(image.getcolors(maxcolors=1 << 20)) > 2


@pytest.mark.parametrize(
    "words", [f"{place.split(',')[0]} fox" for place in (*PLACES.values(), *TIMES.values(), *WEATHER.values())]
)  # fmt: skip
def test_every_setting_can_be_drawn(words):
    """Every place, time and weather of the lexicon has a backdrop of its own look."""
    assert (picture(words) != picture("a fox")).any()


@pytest.mark.parametrize("seed", range(8))
def test_unknown_words_give_a_composition(seed):
    """Words without a known subject give a composition of several colours; a colour leads it."""
    assert understand("quantum vibes").empty
    plain = picture("quantum vibes", seed=seed)
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) > 8
    assert (plain != picture("red quantum vibes", seed=seed)).any()


def test_style_words_are_not_subjects():
    """Without a subject, the style's own words are taken off the prompt before reading it."""
    style = find_style("UI Element")
    request = image_request(prompt=style.render("a red fox"), subject="", style=style.name)
    assert words_of(request, style) == "a red fox"
    foreign = image_request(prompt="a red fox", subject="")
    assert words_of(foreign, style) == "a red fox"


@pytest.mark.parametrize(
    ("words", "name", "count"),
    [("foxes", "fox", 3), ("two wolves", "wolf", 2), ("3 cherries", "cherry", 3), ("an orange", "orange", 1),
     ("99 hot-air balloons", "balloon", MAX_THINGS), ("the king's crown", "crown", 1),
     ("여우 세 마리", "fox", 3), ("빨간 사과", "apple", 1), ("고양이가", "cat", 1), ("새들이", "bird", 3)],
)  # fmt: skip
def test_subjects_and_counts_are_read(words, name, count):
    """Plurals, numbers, phrases, possessives and Korean endings are understood."""
    assert (only(words).name, only(words).count) == (name, count)


@pytest.mark.parametrize("words", ["a red fox", "the fox is red", "a red arctic fox", "빨간 여우"])
def test_a_colour_belongs_to_its_subject(words):
    """A colour before its noun, or after it as a predicate, colours that noun."""
    assert only(words).colour == (216, 52, 44)


def test_a_sentence_is_read_whole():
    """Several subjects keep their own colours, sizes and sides; the setting is read too."""
    brief = understand(
        "A small red fox on the left and two huge blue birds, flying at night in the snow."
    )
    fox, bird = brief.subjects
    assert (fox.scale, fox.side, bird.count, bird.scale) == (0.66, "left", 2, 1.22)
    assert fox.colour != bird.colour
    assert (brief.place, brief.time, brief.weather) == ("snow", "night", "snow")


def test_what_is_not_wanted_is_not_drawn():
    """Words after "no" or "without" are left out; a subject named twice is drawn once."""
    assert [s.name for s in understand("a castle without people, no dragons").subjects] == [
        "castle"
    ]
    assert [s.name for s in understand("no. a fox, and the fox").subjects] == ["fox"]


def test_a_crowd_fits():
    """A dozen things, in a square or a narrow strip, stay within the picture without an error."""
    for ratio in ("1:1", "8:1", "1:8"):
        for words in (
            "twelve red apples",
            "nine birds flying",
            "a fox, six stars and four trees",
            "storm, a train and an umbrella",
        ):
            assert picture(words, aspect_ratio=ratio).std() > 5
