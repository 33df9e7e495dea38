import pytest

from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.prompt import Style, find_style, shelf

OWN = 'name = "{name}"\ndescription = "mine"\ntemplate = "{{prompt}}, mine"\n'


def test_the_shelf_is_well_filled():
    """At least fourteen styles are shipped, each with a description, a palette and a negative."""
    styles = shelf()
    assert len(styles) >= 14
    for style in styles.values():
        assert style.description.endswith(".")
        assert 5 <= len(style.palette) <= 7
        assert all(len(c) == 7 and int(c[1:], 16) >= 0 for c in style.palette)
        assert style.negative_prompt


def test_the_documents_styles_are_on_the_shelf():
    """The styles that were promised by name are there."""
    promised = {"Flat Corporate", "Pixel Art", "Hand Drawn", "UI Element", "Watercolor", "Isometric",
                "Photorealistic", "Anime", "Line Art", "Low Poly", "Sticker", "Storybook",
                "Concept Art", "Vintage Poster"}  # fmt: skip
    assert promised <= set(shelf())


@pytest.mark.parametrize("name", ["pixel art", "PIXEL ART", "  Pixel Art "])
def test_a_style_is_found_whatever_its_case(name):
    """Case and surrounding blanks of a style's name do not matter."""
    assert find_style(name).name == "Pixel Art"


def test_an_unknown_style_lists_the_known_ones():
    """The error for an unknown style names every style there is."""
    with pytest.raises(UnsupportedRequest) as caught:
        find_style("Cubism")
    assert all(name in caught.value.remedy for name in shelf())


def test_the_users_folder_adds_and_overrides(tmp_path):
    """A file of the user's folder is added to the shelf, or replaces the style of its name."""
    (tmp_path / "a.toml").write_text(OWN.format(name="anime"))
    (tmp_path / "b.toml").write_text(OWN.format(name="Cubism"))
    assert find_style("Anime", tmp_path).description == "mine"
    assert find_style("Cubism", tmp_path).render("a fox") == "a fox, mine"
    assert len(shelf(tmp_path)) == len(shelf()) + 1
    assert shelf(tmp_path / "not there") == shelf()


@pytest.mark.parametrize(
    "text", ["name = ", 'name = "x"\ndescription = ""\ntemplate = "no gap"', ""]
)
def test_a_broken_file_is_named(tmp_path, text):
    """A style file that cannot be used is named in the error, with what to do."""
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(RequestError, match=r"broken\.toml") as caught:
        shelf(tmp_path)
    assert caught.value.remedy


@pytest.mark.parametrize("words", ["a {prompt} {0} {}", "{{braces}}", "100 % {x!r}"])
def test_braces_in_the_words_survive(words):
    """The asker's braces reach the prompt as they were written."""
    assert words in find_style("Anime").render(words)


def test_the_template_has_one_gap():
    """A template with two gaps is refused."""
    with pytest.raises(ValueError, match="gap"):
        Style(name="x", description="", template="{prompt} {prompt}")


def test_words_are_trimmed():
    """Blanks around the asker's words do not reach the prompt."""
    assert Style(name="x", description="", template="{prompt}.").render("  a fox ") == "a fox."
