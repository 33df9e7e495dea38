"""A text in any language in, a prompt in one of three looks out: what storybooks and games draw from."""

from typing import Annotated, Any

from blocks.router import open_desk
from blocks.workshop import Opening
from flows.form import Budget, ReuseWithin, tab, titled
from flows.outcome import batch_flow
from imagemill.style_router.desk import checked_route
from imagemill.style_router.values import MAX_TEXT_CHARS, MAX_USER_INPUT_CHARS
from tasks.naming import deployment_name, run_id
from tasks.routing import route_words

Text = Annotated[str, titled("Text", min_length=1, max_length=MAX_TEXT_CHARS)]
Wishes = Annotated[str, titled("Wishes about the picture", max_length=MAX_USER_INPUT_CHARS)]
WordsBy = Annotated[
    str,
    titled(
        "Keywords by",
        tab("Built in", "string", enum=["auto", "rules", "gemini", "openai"]),
        tab("By name", "string"),
        max_length=200,
    ),
]


@batch_flow(
    name="route-text",
    flow_run_name="route a text",
    validate_parameters=False,  # `checked_route` never shows words
    persist_result=False,
)
async def route_text(
    text: Text,
    user_input: Wishes = "",
    words: WordsBy = "auto",
    max_cost_usd: Budget = None,
    reuse_within_s: ReuseWithin = 900,
) -> Any:  # noqa: ANN401 - a dict
    """Make a prompt of a text: keywords, then realistic, anime or illustration, without writing.

    Args:
        text: What happens, in Korean or any language, up to 8,000 characters.
        user_input: What the person wishes for the picture.
        words: Who finds the keywords: auto (Gemini where there is a key, else the configured
            OpenAI-compatible model, else rules), rules (free), gemini, openai, or KIND/NAME of a
            saved block.
        max_cost_usd: The most that this may cost; empty is no limit of its own.
        reuse_within_s: An answer paid at most this many seconds ago is used again.

    Returns:
        `prompt`, `negative_prompt`, `branch`, `style_name`, `keywords`, `purpose`, `by`,
        `cost_usd`, and a `note` where rules stood in for a model.

    Raises:
        RequestError: nothing in the text can be seen, or it is too long; nothing was sent.
    """
    order = checked_route(**locals())
    opening = Opening(run_id(), deployment_name())
    async with open_desk(order, opening):
        return await route_words(opening.run_id)
