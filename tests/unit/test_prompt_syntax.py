"""Weights in a prompt are read as AUTOMATIC1111 reads them, and no word is lost."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.providers.sdxl.prompt_syntax import LEAST_WEIGHT, MOST_WEIGHT, Piece, parse

W = 1.1


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a red fox, 8k", [("a red fox, 8k", 1)]),
        ("a (red) fox", [("a ", 1), ("red", W), (" fox", 1)]),
        ("((red))", [("red", W * W)]),
        ("[red]", [("red", 1 / W)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("((red:1.3) fox)", [("red", 1.3 * W), (" fox", W)]),
        ("([red])", [("red", 1)]),
        ("(a [b) c]", [("a ", W), ("b", 1), (" c", 1 / W)]),
        ("(a:b)", [("a:b", W)]),
        ("[red:10]", [("red:10", 1 / W)]),
        (r"fox \(animal\)", [("fox (animal)", 1)]),
        (r"(fox \(animal\):1.2)", [("fox (animal)", 1.2)]),
        (r"\[a\] \\", [("[a] \\", 1)]),
        ("C:\\x", [("C:\\x", 1)]),
        ("(red", [("(red", 1)]),
        ("red)", [("red)", 1)]),
        ("red] [fox", [("red] [fox", 1)]),
        ("red:1.2) fox", [("red:1.2) fox", 1)]),
        ("((red)", [("(", 1), ("red", W)]),
        (":) (: :-(", [(":) (: :-(", 1)]),
        ("()[]", []),
        ("(:1.2)", []),
        ("(a:0)(b:-2)(c:1e3)", [("ab", LEAST_WEIGHT), ("c:1e3", W)]),
        ("(a:1.2.3)", [("a:1.2.3", W)]),
        ("(한글:1.2) 🦊", [("한글", 1.2), (" 🦊", 1)]),
    ],
)
def test_markup_becomes_weights(prompt, expected):
    """Brackets multiply, divide or name a weight; escaped and broken ones are characters."""
    found = [(piece.text, piece.weight) for piece in parse(prompt)]
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a BREAK b", [("a", False), ("b", True)]),
        ("a\nBREAK\nb BREAK c", [("a", False), ("b", True), ("c", True)]),
        ("a BREAK (b)", [("a", False), ("b", True)]),
        ("(a BREAK b)", [("a", False), ("b", True)]),
        ("BREAK a BREAK", [("a", False)]),
        ("a BREAK BREAK b", [("a", False), ("b", True)]),
        ("BREAKFAST, break", [("BREAKFAST, break", False)]),
    ],
)
def test_break_starts_a_chunk(prompt, expected):
    """It is a word of its own, in capitals; what has nothing on one side starts nothing."""
    assert [(piece.text, piece.starts_chunk) for piece in parse(prompt)] == expected


LIKE_PROMPTS = st.text(st.sampled_from("ab1. ,:()[]\\\n여🦊BREAK"), max_size=60)


@given(
    LIKE_PROMPTS
    | st.lists(st.sampled_from(["(", ")", "[", "]", ":1.2)", "a", " BREAK "])).map("".join)
)
def test_only_markup_is_lost(prompt):
    """What is neither bracket, weight, backslash nor BREAK comes out as it went in, in order."""

    def words(text):
        return re.sub(r"BREAK|[()\[\]\\:\d.\s]", "", text)

    pieces = parse(prompt)
    assert words("".join(piece.text for piece in pieces)) == words(prompt)
    assert all(LEAST_WEIGHT <= piece.weight <= MOST_WEIGHT for piece in pieces)
    assert all(piece.text for piece in pieces)


@given(st.text(st.characters(exclude_characters="()[]\\:", exclude_categories=["Cs"])))
def test_a_prompt_without_markup_is_one_piece_unchanged(prompt):
    """Not a space is touched, so its tokens are the same as diffusers'."""
    if "BREAK" not in prompt:
        assert parse(prompt) == ((Piece(prompt),) if prompt else ())


WORD = st.text(st.sampled_from("abc 여,"), min_size=1, max_size=5)


@given(
    st.recursive(
        WORD.map(lambda text: [(text, 1.0)]),
        lambda inner: st.tuples(
            st.sampled_from([("(", ")", W), ("[", "]", 1 / W), ("(", ":1.3)", 1.3)]),
            st.lists(inner, max_size=3),
        ).map(lambda made: ("wrap", *made)),
        max_leaves=6,
    )
)
def test_nested_brackets_multiply(tree):
    """Whatever is nested how, each letter weighs the product of its brackets."""

    def render(node):
        if node[0] == "wrap":
            _, (before, after, factor), inner = node
            texts, weights = (
                zip(*(render(each) for each in inner), strict=True) if inner else ((), ())
            )
            flat = [(letter, weight * factor) for each in weights for letter, weight in each]
            return before + "".join(texts) + after, flat
        return node[0][0], [(letter, 1.0) for letter in node[0][0]]

    prompt, expected = render(tree)
    found = [(letter, piece.weight) for piece in parse(prompt) for letter in piece.text]
    assert [letter for letter, _ in found] == [letter for letter, _ in expected]
    assert [w for _, w in found] == pytest.approx([w for _, w in expected])


@pytest.mark.parametrize(
    "prompt",
    ["(" * 5000 + "a" + ")" * 5000, "[" * 10_000, ":" + "1" * 10_000, ": " * 5000, " " * 9999 + "BREAK",
     "(a:1.1)" * 1400, "BREAK " * 1600],
)  # fmt: skip
def test_ten_thousand_characters_take_a_moment(prompt):
    """No pattern of characters makes reading slow, and weights stay in range."""
    started = time.process_time()
    assert all(LEAST_WEIGHT <= piece.weight <= MOST_WEIGHT for piece in parse(prompt))
    assert time.process_time() - started < 1


def test_the_words_are_not_in_a_repr():
    """A piece may land in a log or a traceback; its words must not."""
    assert "fox" not in repr(parse("a (red:1.2) fox"))
