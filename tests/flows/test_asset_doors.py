"""Who judges, refines and cuts out, by name; the form of the flow, and its deployment."""

import asyncio
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.segmenters import load_segmenter
from blocks.settings import Settings
from blocks.speakers import WordModel, is_near, load_speaker
from imagemill.errors import ProviderMisconfigured, RequestError, UnsupportedRequest
from tests.asset.builders import opinion
from tests.conftest import skip_or_fail
from tests.flows.assets import asset, make
from tests.wire.chat import FakeChat

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = {"words_base_url": "http://127.0.0.1:11434/v1", "words_model": "llava"}
HOSTED = {"words_base_url": "https://words.example/v1", "words_model": "big"}


@pytest.fixture
def settings(tmp_path):
    def made(**fields) -> Settings:
        return Settings(home=tmp_path, **fields)

    return made


async def name_of(settings, name="auto", role="judge", provider="gemini") -> tuple[str, str] | None:
    found = await load_speaker(name, settings, role=role, provider=provider)
    return (found.provider, found.words.name) if found else None


async def test_auto_is_gemini_with_a_key_then_the_compatible_server_then_nobody(settings):
    """What costs nothing to find out decides."""
    keyed = settings(google_api_key=SecretStr("AIza-test"), **LOCAL)
    assert await name_of(keyed) == ("gemini", "gemini-3.8-flash")
    assert await name_of(keyed, provider="sketch") == ("gemini", "gemini-3.8-flash")
    assert await name_of(settings(**LOCAL)) == ("openai", "llava")
    assert await name_of(settings()) is None
    assert await name_of(settings(), role="refiner") is None


async def test_a_name_is_taken_at_its_word(settings):
    """pixels and rules are nobody, whatever key there is; a model may be named."""
    keyed = settings(google_api_key=SecretStr("AIza-test"))
    assert await name_of(keyed, "pixels") is None
    assert await name_of(keyed, "rules", role="refiner") is None
    lite = await name_of(keyed, "gemini:gemini-3.5-flash-lite")
    assert lite == ("gemini", "gemini-3.5-flash-lite")
    with pytest.raises(ProviderMisconfigured, match="no Gemini API key"):
        await name_of(settings(), "gemini")
    with pytest.raises(UnsupportedRequest):
        await name_of(keyed, "gemini:gemini-nano-banana-2.1")
    for wrong in ("rules", "nobody", "gemini/unsaved", "openai/unsaved", "openai"):
        with pytest.raises(RequestError):
            await name_of(keyed, wrong)


async def test_a_hosted_model_without_a_price_is_refused(settings):
    """No budget could hold. A machine of one's own bills nothing; 0 is a price."""
    with pytest.raises(RequestError, match="prices of big are not known"):
        await name_of(settings(**HOSTED), "openai")
    prices = {
        "words_input_usd_per_million": Decimal("0.5"),
        "words_output_usd_per_million": Decimal(2),
    }
    found = await load_speaker(
        "openai", settings(**HOSTED, **prices), role="judge", provider="gemini"
    )
    assert found.words.worst_case_usd("q", pictures=1) > Decimal("0.007")
    free = await load_speaker("openai", settings(**LOCAL), role="judge", provider="gemini")
    assert free.words.worst_case_usd("q") == 0


@pytest.mark.parametrize(
    ("address", "near"),
    [("http://localhost:1/v1", True), ("http://10.0.0.8/v1", True), ("http://mill.local/v1", True),
     ("http://8.8.8.8/v1", False), ("https://words.example/v1", False), ("", False)],
)  # fmt: skip
def test_near_is_this_machine_and_private_networks(address, near):
    assert is_near(address) is near


def test_without_weights_auto_is_none_and_its_name_is_refused(settings, tmp_path):
    """Whoever names u2netp is told the command that fetches it; rembg needs a model's name."""
    nowhere = settings(u2netp_file=tmp_path / "none.onnx")
    assert load_segmenter("auto", nowhere) is None
    assert load_segmenter("none", nowhere) is None
    with pytest.raises(RequestError, match="make setup"):
        load_segmenter("u2netp", nowhere)
    assert load_segmenter("rembg:isnet-general-use", nowhere).name == "rembg/isnet-general-use"
    for wrong in ("rembg", "scissors"):
        with pytest.raises(RequestError):
            load_segmenter(wrong, nowhere)


def test_the_segmenter_is_u2netp_where_its_weights_lie(settings, tmp_path):
    """In the home's folder of models; none stays none."""
    if find_spec("onnxruntime") is None:
        skip_or_fail("onnxruntime is not installed: make setup-cutout")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "u2netp.onnx").write_bytes(b"weights")
    assert load_segmenter("auto", settings()).name == "u2netp"
    assert load_segmenter("none", settings()) is None


def test_the_block_builds_what_its_form_says():
    """A saved Word Model is the configured one under another name."""
    block = WordModel(base_url="http://127.0.0.1:1/v1", model="m", timeout_s=5)
    assert (block.words().name, block.words().timeout_s) == ("m", 5)


def test_a_compatible_server_judges_and_refines(mill, tmp_path, monkeypatch):
    """Pictures by Gemini, words by a server of one's own: they cost nothing and are counted."""
    with FakeChat() as chat:
        chat.text = opinion(95)
        monkeypatch.setenv("IMAGEMILL_WORDS_BASE_URL", f"{chat.url}/v1")
        monkeypatch.setenv("IMAGEMILL_WORDS_MODEL", "llava")
        answer = make([asset()], judge="openai", refiner="openai", output_dir=str(tmp_path))
    (result,) = answer["results"]
    assert (answer["judge"], result["metadata"]["final_score"]) == ("llava", 95)
    assert answer["cost_summary"]["vision_calls"] == 1
    assert Decimal(answer["cost_summary"]["vision_usd"]) == 0
    assert mill.rows("SELECT provider, model FROM reservations WHERE model = 'llava'") == [
        ("openai", "llava")
    ]


def test_the_form_names_bounds_and_explains_every_parameter():
    """Titles, descriptions and limits, down to the fields of an asset."""
    from prefect.utilities.callables import parameter_schema

    from flows.asset import generate_assets

    schema = parameter_schema(generate_assets).model_dump()
    for name, shown in schema["properties"].items():
        assert shown.get("description"), name
        assert shown["title"] != name, name
    assert schema["required"] == ["requests"]
    asset_form = schema["definitions"]["AssetRequest"]["properties"]
    assert {"id", "category", "name", "description", "size", "purpose", "parameters"} == set(
        asset_form
    )
    assert asset_form["description"]["maxLength"] == 2_000
    assert set(schema["definitions"]["StyleGuide"]["properties"]) == {
        "artStyle", "colorPalette", "pixelDensity", "mood", "constraints",
    }  # fmt: skip


def test_the_deployment_is_there():
    """`assets` in prefect.yaml, with the schema enforced by the server."""
    import yaml

    file = yaml.safe_load((PROJECT / "prefect.yaml").read_text("utf-8"))
    (found,) = [d for d in file["deployments"] if d["name"] == "assets"]
    assert found["entrypoint"] == "flows/asset.py:generate_assets"
    assert found["enforce_parameter_schema"] is True
    assert "imagemill" in found["tags"]


def test_one_that_fails_leaves_the_others_alone(mill, tmp_path):
    """Blocked, it is listed with its error; the batch state says so."""
    mill.fake.script(text_answer=opinion(95))
    bad, good = asset("bad"), asset("good")
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": bad["description"]}])
    state = make([bad, good], output_dir=str(tmp_path), state=True)
    answer = asyncio.run(state.aresult(raise_on_failure=False))
    first, second = answer["results"]
    assert (first["status"], first["error"]["reason"]) == ("failed", "ContentBlocked")
    assert (first["state"], second["status"]) == ("failed", "success")
    assert (state.name, answer["failure_count"]) == ("CompletedWithFailures", 1)
    items = dict(mill.rows("SELECT status, count(*) FROM run_items GROUP BY status"))
    assert items == {"failed": 1, "made": 1}


def test_the_documents_own_example_is_taken(mill, tmp_path):
    """Its two requests and its style guide, as plain objects and as the house's (003, 8.2)."""
    from imagemill.asset.request import AssetRequest, StyleGuide

    mill.fake.script(text_answer=opinion(93))
    guide = {
        "artStyle": "pixel_art", "colorPalette": ["#2D2D2D", "#F4A460", "#8FBC8F", "#4A90E2"],
        "pixelDensity": "32x32", "mood": "cheerful",
        "constraints": {"maxColors": 16, "noText": True, "transparentBackground": True},
    }  # fmt: skip
    requests = [asset("player_idle", id="player_001"), asset("enemy_slime", id="enemy_001")]
    answer = make(
        [AssetRequest.model_validate(requests[0]), requests[1]],
        style_guide=StyleGuide.model_validate(guide), output_dir=str(tmp_path),
    )  # fmt: skip
    assert [r["requestId"] for r in answer["results"]] == ["player_001", "enemy_001"]
    assert all(r["metadata"]["final_score"] == 93 for r in answer["results"])
    assert (tmp_path / "sprite" / "enemy_slime.json").is_file()


def test_a_step_that_breaks_fails_its_own_asset_alone(mill, tmp_path, monkeypatch):
    """An exception of no family: that asset says so, the other is delivered."""
    from imagemill.asset import studio

    mill.fake.script(text_answer=opinion(95))
    checked = studio.checked_picture

    def breaking(picture, request, guide):
        return 1 / 0 if request.name == "bad" else checked(picture, request, guide)

    monkeypatch.setattr(studio, "checked_picture", breaking)
    answer = make([asset("bad"), asset("good")], output_dir=str(tmp_path))
    first, second = answer["results"]
    assert (first["status"], first["error"]["reason"]) == ("failed", "ServiceError")
    assert "ZeroDivisionError" in first["error"]["message"]
    assert second["status"] == "success"


def test_a_store_that_does_not_take_an_asset_fails_it_and_keeps_it_paid(
    mill, tmp_path, monkeypatch
):
    """Mended and asked again it is delivered for nothing."""
    from imagemill.errors import StoreMisconfigured
    from imagemill.store.s3 import S3Store

    mill.fake.script(text_answer=opinion(95))
    requests = [asset()]

    async def refused(self, *_args, **_kwargs):
        raise StoreMisconfigured("No such bucket.")

    with monkeypatch.context() as broken:
        broken.setattr(S3Store, "put_named", refused)
        answer = make(requests, output_dir=str(tmp_path))
    (result,) = answer["results"]
    assert (result["status"], result["error"]["reason"]) == ("failed", "StoreMisconfigured")
    assert answer["record_url"] is None
    assert Decimal(answer["cost_usd"]) > 0
    (again,) = make(requests, output_dir=str(tmp_path))["results"]
    assert (again["status"], again["state"]) == ("success", "reused")
    assert mill.fake.stats.requests == 2


def test_without_a_key_nothing_is_begun(mill, tmp_path, monkeypatch):
    """Nobody could be asked: refused at the door; no run is left to resume, no folder is made."""
    monkeypatch.delenv("GOOGLE_API_KEY")
    with pytest.raises(ProviderMisconfigured, match="GOOGLE_API_KEY"):
        make([asset()], provider="gemini", output_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert not mill.has_ledger() or not mill.rows("SELECT id FROM runs")
