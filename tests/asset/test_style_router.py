"""The style router: Korean text to a prompt, by rules and by models, without writing in it."""

import json
import logging
import re
import traceback
from decimal import Decimal

import pytest

from imagemill.errors import ImagemillError, RateLimited, RequestError
from imagemill.prompt import find_style
from imagemill.providers.openai import OpenAIWords
from imagemill.style_router import StyleRouter, keywords_by_rules
from imagemill.style_router.route import STYLE_OF
from imagemill.style_router.rules import table
from imagemill.style_router.writing import NO_TEXT, without_writing
from tests.asset.builders import CANARY
from tests.wire.chat import FakeChat

STORY = "눈 내리는 겨울 숲에서 작은 여우가 보름달을 바라보고 있었어요."


def answer(style="anime", keywords=("a small fox", "snowy forest"), purpose=""):
    return json.dumps({"style": style, "purpose": purpose, "keywords": list(keywords)})


async def test_korean_becomes_english_keywords_by_rules():
    """Snow, winter, forest, small, fox, full moon, gazing: found in order, and said to be by rules."""
    routed = await StyleRouter().route(STORY)
    assert routed.keywords == (
        "snow", "falling", "winter", "forest", "small", "fox", "full moon", "gazing",
    )  # fmt: skip
    assert routed.by == "rules"
    assert "rules" in routed.note
    assert routed.cost_usd == 0
    assert "snow, falling, winter, forest" in routed.prompt
    assert STORY.rstrip(".") in routed.prompt


@pytest.mark.parametrize(
    ("text", "user_input", "branch"),
    [
        (STORY, "사진처럼 사실적으로", "realistic"),
        (STORY, "애니메이션 느낌으로 그려줘", "anime"),
        (STORY, "웹툰 스타일", "anime"),
        (STORY, "따뜻한 수채화 그림책처럼", "illustration"),
        (STORY, "사진 말고 동화 삽화로", "illustration"),
        (STORY, "만화 느낌은 싫어요, 실사로", "realistic"),
        (STORY, "", "realistic"),
        ("동화 속 이야기, 동화 나라", "", "illustration"),
        ("동화 속 이야기", "실사로 보여줘", "realistic"),
        ("a fox in the snow", "as an anime key visual", "anime"),
        ("a watercolour of a fox, not a photo", "", "illustration"),
        ("雪の中の狐", "アニメ風", "anime"),
        ("森林里的狐狸", "照片", "realistic"),
        ("un zorro en la nieve", "ilustración", "illustration"),
    ],
)
async def test_the_look_is_found_by_rules(text, user_input, branch):
    """What the person asks for outweighs what the text mentions; a denied look counts against it."""
    routed = await StyleRouter().route(text, user_input)
    assert (routed.branch, routed.style_name) == (branch, STYLE_OF[branch])
    frame = find_style(STYLE_OF[branch]).template.partition("{prompt}")[2]
    assert frame in routed.prompt


@pytest.mark.parametrize(
    ("user_input", "gone"),
    [("사진 말고 수채화로", "사진"), ("a watercolour, not a photograph", "photograph")],
)
async def test_a_denied_look_is_not_in_the_prompt(user_input, gone):
    """Models draw what they are told not to draw."""
    prompt = (await StyleRouter().route(STORY, user_input)).prompt
    assert gone not in prompt
    assert STORY.rstrip(".") in prompt


@pytest.mark.parametrize(
    ("text", "there", "absent"),
    [
        ("눈물을 흘리는 소녀", "girl", "snow"),
        ("배고픈 강아지", "puppy", "boat"),
        ("비밀의 정원", "garden", "rain"),
        ("밤하늘의 별", "night sky", "chestnut"),
        ("새 학교에 가는 날", "school", "bird"),
        ("새가 나무에 앉아", "bird", "new"),
    ],
)
def test_a_short_word_is_not_found_inside_a_longer_one(text, there, absent):
    """눈 is snow and 눈물 is tears: a noun counts alone or with a particle."""
    found = keywords_by_rules(text).keywords
    assert there in found
    assert absent not in found


@pytest.mark.parametrize(
    ("text", "gone", "kept"),
    [
        ('"생일 축하해"라고 쓰인 케이크', "생일 축하해", "케이크"),
        ("'세일' 문구를 넣어 주세요, 빨간 가방", "세일", "빨간 가방"),
        ("여우가 자는 숲. 제목도 크게 써줘", "제목도 써줘", "여우가 자는 숲"),
        ("숲 속의 여우, 글자를 넣어줘", "글자", "숲 속의 여우"),
        ('a cake with the text "Happy Birthday" on a table', "Happy Birthday", "on a table"),
        ("a shop, sign that says 'OPEN'", "OPEN", "a shop"),
        ("a fox. Add a big title at the top, please", "title", "a fox"),
        ('여우가 "안녕" 하고 말했다', '"', "안녕 하고 말했다"),
        ("「冬」の森", "「", "冬"),
    ],
)
async def test_writing_inside_the_picture_is_suppressed(text, gone, kept):
    """Orders to write are dropped, quotation marks are taken off, and the prompt forbids text."""
    assert gone not in without_writing(text)
    routed = await StyleRouter().route(text)
    assert gone not in routed.prompt
    assert kept in routed.prompt
    assert routed.prompt.endswith(NO_TEXT)
    assert {"text", "letters", "caption"} <= set(routed.negative_prompt.split(", "))


async def test_the_purpose_is_found():
    """A book cover is framed otherwise than an icon."""
    routed = await StyleRouter().route(STORY, "동화책 표지로 쓸 그림")
    assert routed.purpose == "book cover"
    assert "for a book cover" in routed.prompt


@pytest.mark.parametrize(("text", "user_input"), [("", ""), ('"', " "), ("글자를 써줘", ""),
                                                  ("가" * 8_001, ""), ("a", "b" * 2_001)])  # fmt: skip
async def test_nothing_or_too_much_is_refused_at_the_door(text, user_input):
    """The message has lengths and a digest, and no words."""
    with pytest.raises(RequestError) as caught:
        await StyleRouter().route(text, user_input)
    assert "글자" not in str(caught.value)
    assert caught.value.remedy


def test_the_table_is_sound():
    """English on the right, Hangul on the left, no stem hides a noun of the table, looks complete."""
    rules = table()
    for korean, english in [*rules["nouns"].items(), *rules["stems"].items()]:
        assert re.fullmatch(r"[가-힣]+", korean)
        assert english.isascii() or english == "café"
    assert set(rules["looks"]) == set(STYLE_OF)
    assert len(rules["nouns"]) >= 150
    assert [noun for noun in rules["needs_particle"] if noun not in rules["nouns"]] == []


async def test_gemini_finds_the_keywords(fake, words):
    """Its style routes, its keywords are the prompt, and its tokens are the bill."""
    fake.script(text_answer=answer(purpose="book cover"))
    routed = await StyleRouter(words).route(STORY, "일본풍으로")
    assert (routed.branch, routed.by) == ("anime", "gemini-3.8-flash")
    assert routed.cost_usd == Decimal("0.00075")
    assert "a small fox, snowy forest, for a book cover" in routed.prompt
    assert STORY not in routed.prompt
    assert routed.note == ""
    text = fake.last[-1][1]["contents"][0]["parts"][0]["text"]
    assert STORY.rstrip(".") in text
    assert "일본풍으로" in text
    schema = fake.last[-1][1]["generationConfig"]["responseSchema"]
    assert schema["properties"]["style"]["enum"] == ["realistic", "anime", "illustration"]


async def test_any_compatible_server_finds_them_too():
    """The same question to an OpenAI-compatible base_url."""
    with FakeChat() as chat:
        chat.text = answer("illustration")
        words = OpenAIWords(base_url=f"{chat.url}/v1", model="local")
        routed = await StyleRouter(words).route(STORY)
    assert (routed.branch, routed.by, routed.cost_usd) == ("illustration", "local", 0)


async def test_a_model_cannot_bring_writing_back(fake, words):
    """Keywords that ask for text are dropped, orders and quotation marks in them too."""
    fake.script(
        text_answer=answer(keywords=["big title text", "a fox", 'sign saying "OPEN"', "logo"])
    )
    routed = await StyleRouter(words).route(STORY)
    assert routed.keywords == ("a fox", "sign")


@pytest.mark.parametrize(
    "text",
    ["no JSON", "{}", answer("cubism"), answer(keywords=[]), answer(keywords=["caption text"]),
     answer()[:-5]],
)  # fmt: skip
async def test_an_unusable_answer_leaves_it_to_the_rules(fake, words, text):
    """The rules stand in and say so; what the model billed stays on the bill."""
    fake.script(text_answer=text)
    routed = await StyleRouter(words).route(STORY)
    assert (routed.by, routed.cost_usd) == ("rules", Decimal("0.00075"))
    assert "fox" in routed.keywords
    assert "of no use" in routed.note


@pytest.mark.parametrize("kind", ["prompt_blocked", "max_tokens", "drop", "html"])
async def test_a_blocked_cut_or_lost_answer_leaves_it_to_the_rules(fake, words, kind):
    """None of them costs nothing."""
    fake.script(text_answer=answer(), faults=[{"kind": kind}])
    routed = await StyleRouter(words).route(STORY)
    assert routed.by == "rules"
    assert routed.cost_usd > 0


async def test_being_told_to_wait_is_raised(fake, words):
    """A 429 is for the task decorator; the rules do not hide it."""
    fake.script(faults=[{"kind": "rate_limited"}])
    with pytest.raises(RateLimited):
        await StyleRouter(words).route(STORY)


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "bad_request", "key_refused"])
async def test_no_failure_tells_the_text(fake, words, kind, caplog):
    """Neither exception nor log at DEBUG holds the asker's words."""
    caplog.set_level(logging.DEBUG)
    fake.script(faults=[{"kind": kind}])
    with pytest.raises(ImagemillError) as caught:
        await StyleRouter(words).route(f"여우 {CANARY}", CANARY)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "canary" not in told
    routed = await StyleRouter().route(CANARY)
    assert CANARY not in repr(routed)
