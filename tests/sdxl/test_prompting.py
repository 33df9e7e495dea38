"""Words become the embeddings that diffusers makes of them, and go on where diffusers would cut."""

import pytest

from imagemill.errors import UnsupportedRequest
from imagemill.providers.sdxl.prompt_syntax import parse
from imagemill.providers.sdxl.prompting import TextParts, chunk_tokens, count_chunks, encode

PAIRS = [
    ("a red fox", "blurry, bad"),
    ("", ""),
    ("x " * 75, ""),
    ("여우가 달린다", "흐림"),
    ("🦊🔥", "🙈"),
    ("A  Red\n fox, C:\\x :) 1:2", "("),
    ("a <|endoftext|> b", ""),
]


@pytest.fixture(scope="module")
def pipe():
    from bench import tiny_sdxl

    return tiny_sdxl.make_pipeline(0)


@pytest.fixture(scope="module")
def parts(pipe):
    return parts_of(pipe)


def parts_of(pipe):
    return TextParts(pipe.tokenizer, pipe.tokenizer_2, pipe.text_encoder, pipe.text_encoder_2)


def ids_of(chunk):
    return [token for token, _ in chunk]


def same(encoded, theirs):
    import torch

    ours = (encoded.prompt_embeds, encoded.negative_embeds, encoded.pooled, encoded.negative_pooled)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_short_prompts_are_bit_equal_to_diffusers(dtype):
    """Up to 75 tokens without weights nothing differs: not a bit, not a dtype."""
    import torch

    from bench import tiny_sdxl

    pipe = tiny_sdxl.make_pipeline(0).to(dtype=getattr(torch, dtype))
    for prompt, negative in PAIRS:
        with torch.no_grad():
            theirs = pipe.encode_prompt(prompt, device="cpu", negative_prompt=negative)
        ours = encode(parts_of(pipe), prompt, negative=negative)
        assert same(ours, theirs), prompt
        assert ours.chunks == 1


def test_the_embeddings_draw_the_picture_that_the_words_draw(pipe, parts):
    """What comes out fits into the pipeline, at 77 positions and at 231."""
    import numpy as np
    import torch

    def draw(**words):
        generator = [torch.Generator("cpu").manual_seed(7)]
        size = {"height": 64, "width": 64, "num_inference_steps": 2, "guidance_scale": 5.0}
        return pipe(**words, **size, generator=generator, output_type="np").images[0]

    def by_embeddings(**more):
        made = encode(parts, "a red fox", negative="blurry", **more)
        return draw(
            prompt_embeds=made.prompt_embeds, negative_prompt_embeds=made.negative_embeds,
            pooled_prompt_embeds=made.pooled, negative_pooled_prompt_embeds=made.negative_pooled,
        )  # fmt: skip

    plain = draw(prompt="a red fox", negative_prompt="blurry")
    np.testing.assert_array_equal(by_embeddings(), plain)
    assert np.isfinite(padded := by_embeddings(chunks=3)).all()
    assert not np.array_equal(padded, plain)


def test_no_token_of_a_long_prompt_is_lost(parts):
    """All tokens come back in order, none twice, in chunks of at most 75; the last word is felt."""
    import torch

    prompt = ", ".join(f"fox number {i} (of many:1.2)" for i in range(60))
    chunks = chunk_tokens(parts.tokenizer, parse(prompt))
    plain = "".join(piece.text for piece in parse(prompt))
    whole = parts.tokenizer(plain, add_special_tokens=False, verbose=False).input_ids
    assert [token for chunk in chunks for token in ids_of(chunk)] == whole
    assert all(0 < len(chunk) <= 75 for chunk in chunks)
    made = encode(parts, prompt, negative="")
    assert made.tokens == len(whole)
    assert made.chunks == len(chunks) == count_chunks(parts, prompt) > 5
    assert made.prompt_embeds.shape == made.negative_embeds.shape == (1, 77 * made.chunks, 96)
    other = encode(parts, prompt[:-6] + "x:1.2)", negative="")
    assert torch.equal(made.prompt_embeds[:, :77], other.prompt_embeds[:, :77])
    assert not torch.equal(made.prompt_embeds[:, -77:], other.prompt_embeds[:, -77:])


def test_each_chunk_is_encoded_by_itself(parts):
    """A chunk's embedding is that of its words alone, and the first one's pooled is the pooled."""
    import torch

    first, second = encode(parts, "a fox", negative=""), encode(parts, "in (snow:1.3)", negative="")
    both = encode(parts, "a fox BREAK in (snow:1.3)", negative="")
    assert both.chunks == 2
    assert torch.equal(
        both.prompt_embeds, torch.cat([first.prompt_embeds, second.prompt_embeds], 1)
    )
    assert torch.equal(both.pooled, first.pooled)
    assert not torch.equal(both.pooled, second.pooled)


@pytest.mark.parametrize(
    ("commas", "expected"),
    [([70], 71), ([74], 75), ([55], 56), ([54], 75), ([75], 75), ([60, 75], 75), ([60, 70], 71)],
)
def test_a_phrase_is_not_torn(parts, commas, expected):
    """A full chunk ends at a comma among its last 20 tokens; further back it is not looked for."""
    words = ["," if i in commas else "x" for i in range(150)]
    chunks = chunk_tokens(parts.tokenizer, parse(" ".join(words)))
    assert len(chunks[0]) == expected
    assert sum(map(len, chunks)) == 150


def test_a_weight_scales_its_words_and_keeps_the_chunks_mean(parts):
    """Each token moves by its weight against the others; the mean stays where it was."""
    import torch

    plain = encode(parts, "big red fox", negative="")
    heavy = encode(parts, "big (red:1.5) fox", negative="")
    for span in (slice(0, 32), slice(32, 96)):  # each encoder by itself
        a, b = plain.prompt_embeds[0, :, span], heavy.prompt_embeds[0, :, span]
        scale = (b / a).median(dim=1).values
        inside = slice(4, 7)  # "big" is three letters for the tiny tokenizer
        torch.testing.assert_close(scale[inside] / scale[0], torch.full((3,), 1.5))
        torch.testing.assert_close(scale[7:] / scale[0], torch.ones(70))
        assert 1 / 1.5 <= float(scale[0]) <= 1
    assert torch.equal(plain.pooled, heavy.pooled)
    assert torch.equal(plain.negative_embeds, heavy.negative_embeds)


def test_the_mean_is_restored_exactly_where_it_can_be():
    """States of one sign get their old mean back; where signs cancel, nothing blows up."""
    import torch

    from imagemill.providers.sdxl.prompting import _weighed

    positive = torch.rand(1, 77, 8, generator=torch.Generator().manual_seed(1)) + 0.1
    weights = [1.0, 1.3, 0.7, 2.0]
    made = _weighed(positive, weights)
    torch.testing.assert_close(made.mean(), positive.mean())
    cancelling = torch.zeros(1, 77, 8)
    cancelling[0, 1], cancelling[0, 2] = 1.0, -1.5
    made = _weighed(cancelling, [1.5, 1.0])
    assert float(made.abs().max()) <= 1.5
    assert torch.equal(_weighed(torch.zeros(1, 77, 8), weights), torch.zeros(1, 77, 8))


@pytest.mark.parametrize(
    "prompt",
    [
        "()",
        "[[((",
        "BREAK",
        " \n ",
        "(" * 500 + "fox" + ")" * 500,
        "(fox:0)",
        "fox 🦊 여우, " * 900,
    ],
    ids=["empty", "open", "break", "blank", "deep", "zero", "long"],
)
def test_odd_prompts_make_finite_embeddings(parts, prompt):
    """Only brackets, nothing at all, 500 brackets, 10,000 characters: all can be drawn."""
    import torch

    made = encode(parts, prompt, negative=prompt[:100])
    assert made.prompt_embeds.shape == made.negative_embeds.shape == (1, 77 * made.chunks, 96)
    assert torch.isfinite(made.prompt_embeds).all()
    assert not made.prompt_embeds.requires_grad


def test_the_shorter_side_is_padded_and_too_few_chunks_are_refused(parts, caplog):
    """Padding is the empty prompt; a refusal and the log name figures, never words."""
    import torch

    made = encode(parts, "fox", negative="x " * 100, chunks=4)
    empty = encode(parts, "", negative="").prompt_embeds
    assert made.chunks == 4
    for i in (1, 2, 3):
        assert torch.equal(made.prompt_embeds[:, 77 * i : 77 * (i + 1)], empty)
    with pytest.raises(UnsupportedRequest, match="fills 2 chunks of 75 tokens; 1 were") as caught:
        encode(parts, "secretfox " * 10, negative="", chunks=1)
    assert "secretfox" not in str(caught.value)
    assert "secretfox" not in caplog.text


def test_tokenizers_that_count_differently_still_fit_together(parts):
    """SDXL's second pads with "!" and so reads each "!" by itself; the first side is padded."""
    from bench import tiny_sdxl

    picky = tiny_sdxl.make_tokenizer("th")  # reads "the" as two
    parts = TextParts(parts.tokenizer, picky, parts.text_encoder, parts.text_encoder_2)
    prompt = "the " * 75
    assert len(chunk_tokens(parts.tokenizer, parse(prompt))) == 1
    assert len(chunk_tokens(picky, parse(prompt))) == 2
    made = encode(parts, prompt, negative="")
    assert made.chunks == count_chunks(parts, prompt) == 2
    assert made.prompt_embeds.shape == made.negative_embeds.shape == (1, 154, 96)
