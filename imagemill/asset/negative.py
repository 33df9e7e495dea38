"""Negative prompts by style and category, and where a model wants to be told of them."""

from imagemill.asset.data import shelf_file
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.providers.base import Capabilities

STYLE_ALIASES = {"ui_element": "ui", "pixel": "pixel_art", "handdrawn": "hand_drawn"}


def negative_prompt(request: AssetRequest, guide: StyleGuide) -> str:
    """Return what to avoid, comma separated: text, common faults, background, style, category.

    Words about writing are left out where the guide allows text, those about the background where
    the category is a scene.
    """
    table = shelf_file("negatives")
    style = STYLE_ALIASES.get(guide.style_key, guide.style_key)
    category = request.category.casefold()
    found = [
        *(table["text"] if guide.constraints.no_text else ()),
        *table["common"],
        *(() if category in table["scenes"] else table["background"]),
        *table["style"].get(style, ()),
        *table["category"].get(category, ()),
    ]
    return ", ".join(dict.fromkeys(found))


def placed(prompt: str, negative: str, capabilities: Capabilities) -> tuple[str, str]:
    """Return prompt and negative prompt as the model takes them.

    A model (or its adapter, as Gemini's) that takes a negative prompt gets it as it is; for others
    it is folded into the prompt, as much of it as the model's limit leaves room for. Whole words
    are dropped from the end, never words of the prompt.
    """
    if capabilities.negative_prompt or not negative:
        return prompt, negative
    room = capabilities.prompt_limit_chars
    words = negative.split(", ")
    while words:
        folded = f"{prompt}\n\nAvoid: {', '.join(words)}"
        if len(folded) <= room:
            return folded, ""
        words.pop()
    return prompt, ""
