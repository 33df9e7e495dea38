"""From a batch to its requests: every prompt rendered and checked before anything is paid."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from imagemill.artifact import Digest
from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities
from imagemill.request import BatchRequest, ImageRequest


def checked_batch(**fields: Any) -> BatchRequest:  # noqa: ANN401 - this is where input is checked
    """Return the batch, or say in the house's words what is wrong with it. Never echoes a prompt.

    Raises:
        RequestError: names each field at fault and what it takes.
    """
    try:
        return BatchRequest(**fields)
    except ValidationError as error:
        found = error.errors(include_input=False)
        # A prompt that is refused leaves the list one shorter; that is no second problem.
        told = [each for each in found if len(each["loc"]) > 1] or found
        others = [each for each in found if each["loc"][:1] != ("prompts",) and each not in told]
        problems = "; ".join(_problem(details) for details in [*told, *others])
    raise RequestError(
        f"The batch cannot be made: {problems}.",
        remedy="Nothing was sent; correct it and try again.",
    )


def _problem(details: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    place = [str(part) for part in details["loc"]]
    if details["loc"][:1] == ("prompts",) and len(place) > 1:
        place = ["prompt", str(int(place[1]) + 1)]
    message = str(details["msg"]).removeprefix("Value error, ").rstrip(".")
    if details["type"] == "string_too_short":
        message = "it is empty"
    if details["type"] == "too_short" and place == ["prompts"]:
        message = "the list is empty; give at least one prompt"
    name = " ".join(place)
    return message if message.startswith(name) else f"{name}: {message}"


def plan(
    batch: BatchRequest,
    style: Style,
    capabilities: Capabilities,
    *,
    references: Sequence[Digest] = (),
) -> tuple[ImageRequest, ...]:
    """Return one checked request an image, prompts in input order, samples of one side by side.

    The same words given twice are two pictures: the later one takes the next sample number. A
    given seed is raised by the sample number, so that samples differ and can be made again.

    Raises:
        UnsupportedRequest: the model cannot do what one of them asks.
    """
    if batch.seed is not None and not capabilities.seed:
        raise UnsupportedRequest(
            f"{capabilities.provider}/{capabilities.model} takes no seed.", remedy="Leave it out."
        )
    if batch.diffusion is not None and not capabilities.diffusion:
        raise UnsupportedRequest(
            f"{capabilities.provider}/{capabilities.model} takes no diffusion settings.",
            remedy="Leave `diffusion` out, or choose a provider that draws with a checkpoint of "
            "yours, such as sdxl.",
        )
    seen: Counter[str] = Counter()
    requests = []
    for words in batch.prompts:
        for _ in range(batch.samples):
            request = _request(batch, style, capabilities, words=words, sample=seen[words])
            requests.append(request.model_copy(update={"references": tuple(references)}))
            seen[words] += 1
    for request in requests:
        capabilities.check(request)
    return tuple(requests)


def _request(
    batch: BatchRequest, style: Style, capabilities: Capabilities, *, words: str, sample: int
) -> ImageRequest:
    negative = ", ".join(part for part in (batch.negative_prompt, style.negative_prompt) if part)
    seed = None if batch.seed is None else (batch.seed + sample) % 2**31
    return ImageRequest(
        provider=capabilities.provider,
        model=capabilities.model,
        prompt=style.render(words),
        subject=words,
        style=style.name,
        negative_prompt=negative,
        aspect_ratio=batch.aspect_ratio,
        size=batch.size or capabilities.default_size,
        seed=seed,
        sample=sample,
        safety=batch.safety,
    )
