"""Requests and results: the document's names in and out, and a clear word at the door."""

import json
import traceback
from decimal import Decimal

import pytest

from imagemill.asset.request import AssetRequest, AssetSize, StyleGuide, checked
from imagemill.asset.result import AssetImage, AssetMetadata, AssetResult, Iteration
from imagemill.errors import RequestError, UnsupportedRequest
from tests.asset.builders import CANARY, asset, guide


def test_the_documents_own_example_is_taken_as_it_stands():
    """The style guide of section 8.2, word for word, and the same in snake_case."""
    told = guide()
    snake = StyleGuide(
        art_style="pixel_art", color_palette=told.color_palette, pixel_density="32x32",
        mood="cheerful", constraints={"max_colors": 16},
    )  # fmt: skip
    assert told.to_json() == snake.to_json()
    assert set(told.to_json()) == {
        "artStyle", "colorPalette", "pixelDensity", "mood", "constraints",
    }  # fmt: skip
    assert set(told.to_json()["constraints"]) == {"maxColors", "noText", "transparentBackground"}


def test_the_documents_constants_are_the_defaults():
    """512 x 512, square, no text, transparent, at most 64 colours."""
    plain = AssetRequest(id="1", name="coin", description="a coin")
    limits = StyleGuide().constraints
    assert (plain.size.width, plain.size.height, plain.size.aspect_ratio) == (512, 512, "1:1")
    assert (limits.max_colors, limits.no_text, limits.transparent_background) == (64, True, True)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((512, 512), "1:1"), ((1920, 1080), "16:9"), ((64, 128), "9:16"), ((4096, 8), "8:1")],
)
def test_an_exact_size_has_a_nearest_ratio(size, ratio):
    """Models draw ratios, games want pixels."""
    found = AssetSize.model_validate(size).aspect_ratio
    assert found == ratio


WRONG = [
    ({"name": f"../{CANARY}"}, "name: is part of a file name"),
    ({"name": "a/b"}, "name: is part"),
    ({"name": ".hidden"}, "name: is part"),
    ({"name": "a..b"}, "name: is part"),
    ({"name": "CON"}, "name: is part"),
    ({"category": "a\\b"}, "category: is part"),
    ({"description": " "}, "description: String should have at least 1"),
    ({"description": CANARY * 200}, "description: String should have at most 2000"),
    ({"size": {"width": 5000, "height": 1}}, "size.width: Input should be less than or equal to"),
    ({"size": CANARY}, "size: "),
    ({CANARY: 1}, "a field that is not known"),
    ({"parameters": {CANARY: {}}}, "parameters.…"),
    ({"id": ""}, "id: "),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_said_without_what_was_given(change, told):
    """Every wrong field is named with what is allowed; the words of the asker are in no traceback."""
    data = {"id": "1", "name": "coin", "description": CANARY, **change}
    with pytest.raises(RequestError, match=r"requests\[3\]") as caught:
        checked(AssetRequest, data, what="requests[3]")
    assert told in str(caught.value)
    assert caught.value.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colorPalette": ["red"]}, "colorPalette.0: is a colour"),
        ({"pixelDensity": "fine"}, "pixelDensity: is width x height"),
        ({"constraints": {"maxColors": 1}}, "constraints.maxColors: "),
        ({"constraints": {"noSound": 1}}, "a field that is not known"),
    ],
)
def test_a_wrong_style_guide_says_where(change, told):
    """The path is the document's."""
    with pytest.raises(RequestError) as caught:
        checked(StyleGuide, {"artStyle": "pixel_art", **change}, what="style_guide")
    assert told in str(caught.value)


def test_korean_names_are_names():
    """A file may be called 주인공."""
    assert asset(name="주인공 1").name == "주인공 1"


def test_nothing_of_a_prompt_is_in_a_repr():
    """Values are logged by accident; their words must not be."""
    assert CANARY not in repr(asset(parameters={"pose": CANARY}))
    assert asset().description_digest in {asset(name="other").description_digest}


def test_a_result_speaks_the_documents_language():
    """requestId, image.fileSize, metadata.iteration_history: what the document's callers read."""
    turn = Iteration(
        iteration=1, score=93.0, generation_time=1.5, passed=True, suggestions=("Less.",)
    )
    metadata = AssetMetadata(
        total_iterations=1, iteration_history=(turn,), final_score=93, prompt=CANARY,
        cost_usd=Decimal("0.04"),
    )  # fmt: skip
    image = AssetImage(path="generated-assets/sprite/a.png", size={"width": 8, "height": 8},
                       fileSize=99)  # fmt: skip
    result = AssetResult(request_id="a", status="success", image=image, metadata=metadata)
    data = json.loads(json.dumps(result.to_json()))
    assert data["requestId"] == "a"
    assert data["image"] == {
        "path": "generated-assets/sprite/a.png", "format": "png",
        "size": {"width": 8, "height": 8}, "fileSize": 99,
    }  # fmt: skip
    assert {"total_iterations", "iteration_history", "final_score", "from_cache"} <= set(
        data["metadata"]
    )
    first = data["metadata"]["iteration_history"][0]
    assert {"iteration", "score", "generation_time", "passed", "suggestions"} <= set(first)
    assert "error" not in data
    assert CANARY not in repr(result)
    assert AssetResult.model_validate(data) == result


def test_a_failure_has_a_message_and_a_reason():
    """The reason is the error's class, as in the document; half a result is refused."""
    failed = AssetResult.failed("a", UnsupportedRequest("No such size.", remedy="Choose 1K."))
    assert failed.to_json() == {
        "requestId": "a", "status": "failed",
        "error": {"message": "No such size. Choose 1K.", "reason": "UnsupportedRequest"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="success has image"):
        AssetResult(request_id="a", status="success")
