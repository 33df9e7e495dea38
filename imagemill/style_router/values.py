"""What the style router passes around: keywords of a text, and the prompt they become."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Branch = Literal["realistic", "anime", "illustration"]
"""The document's three (002, section 6.2)."""

BRANCHES: tuple[Branch, ...] = ("realistic", "anime", "illustration")

MAX_KEYWORDS = 24
MAX_TEXT_CHARS = 8_000
MAX_USER_INPUT_CHARS = 2_000

Keyword = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Keywords(BaseModel):
    """What is to be seen, in English words, the most important first.

    Attributes:
        style: Which look the asker means.
        purpose: What the picture is for ("book cover"), "" when nothing says so.
        keywords: Subject, action, place, time, mood.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    style: Branch
    purpose: Annotated[str, Field(max_length=200, repr=False)] = ""
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=MAX_KEYWORDS, repr=False)] = ()


class RoutedPrompt(BaseModel):
    """A prompt in the look that was found.

    Attributes:
        branch: The look.
        style_name: The style on the shelf that words it.
        by: `rules`, or the name of the model that found the keywords.
        cost_usd: What the model billed, also when its answer was of no use.
        note: A sentence for the asker when rules stood in for a model.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    prompt: str = Field(repr=False)
    negative_prompt: str = Field(repr=False)
    branch: Branch
    style_name: str
    keywords: tuple[str, ...] = Field(default=(), repr=False)
    purpose: str = Field(default="", repr=False)
    by: str
    cost_usd: Decimal = Field(default=Decimal(0), ge=0)
    note: str = ""
