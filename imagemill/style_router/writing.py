"""Keeping writing out of the picture: text is laid over it later (002, section 6.2)."""

import re

NO_TEXT = (
    "No text, letters, numbers, captions, speech bubbles, signs or logos anywhere in the image."
)
TEXT_WORDS = ("text", "letters", "words", "numbers", "caption", "subtitle", "speech bubble", "logo",
              "watermark", "signature")  # fmt: skip

_OPEN, _CLOSE = "\"'“‘「『《<", "\"'”’」』》>"
_QUOTED = f"[{_OPEN}][^{_OPEN}{_CLOSE}\n]{{1,120}}[{_CLOSE}]"
_KO_WRITING = "(?:글자|글씨|문구|텍스트|자막|제목|말풍선|로고|캡션|타이틀)"
_ORDERS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "생일 축하해"라고 쓰인 (케이크) · '안녕' 글자 · “세일” 문구를 넣어
        rf"{_QUOTED}\s*(?:이?라고|이?라는)?\s*(?:적힌|적혀\s*있는|쓰인|쓰여\s*있는|써\s*있는|써진|"
        rf"{_KO_WRITING}[가-힣]*)(?:\s*(?:넣|써|적|추가)[가-힣]*(?:\s*(?:줘|주세요|달라)[가-힣]*)?)?",
        # 글자를 넣어 주세요 · 제목도 써줘
        rf"{_KO_WRITING}(?:을|를|도|이|가|은|는)?\s*(?:넣|써|쓰|적|추가)[가-힣]*"
        r"(?:\s*(?:줘|주세요|달라)[가-힣]*)?",
        # with the text "SALE" · that says 'hello' · titled “X”
        rf"\b(?:with\s+)?(?:the\s+)?(?:text|words?|caption|title|titled|label(?:l?ed)?|captioned|"
        rf"that\s+(?:says|reads)|saying|reading)\s*:?\s*{_QUOTED}",
        # write a title on it · add some text
        r"\b(?:write|add|put|include)\b[^.,;!?\n]{0,40}\b(?:text|captions?|title|letters|words|"
        r"logo|watermark|lettering)\b[^.,;!?\n]{0,40}",
    )
)
_MARKS = re.compile(r"[\"“”「」『』《》]")
_BLANKS = re.compile(r"\s+")


def without_writing(text: str) -> str:
    """Return `text` without orders to write something, and without quotation marks.

    Models paint what is quoted; the words of a dialogue stay, its marks go.
    """
    for order in _ORDERS:
        text = order.sub(" ", text)
    return _BLANKS.sub(" ", _MARKS.sub(" ", text)).strip(" ,.;")


def is_about_writing(keyword: str) -> bool:
    """Whether a keyword asks for writing."""
    words = set(re.findall(r"[a-z]+", keyword.casefold()))
    asks = {"text", "letters", "lettering", "caption", "captions", "subtitle", "typography", "logo"}
    return bool(words & asks)
