"""From a batch to its requests: every prompt rendered and checked before anything is paid."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from imagemill.artifact import Digest
from imagemill.diffusion import DiffusionWish
from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.looks import Terms
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities
from imagemill.request import BatchRequest, ImageRequest
from imagemill.rows import Row, about, is_left_out, split


def checked_batch(**fields: Any) -> BatchRequest:  # noqa: ANN401 - this is where input is checked
    """Return the batch, or say in the house's words what is wrong with it. Never echoes a prompt.

    Raises:
        RequestError: names each field at fault and what it takes.
    """
    if not fields.get("rows"):
        fields["prompts"], fields["rows"] = split(fields.get("prompts"))
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
    place, row = [_name(str(part)) for part in details["loc"]], ""
    if details["loc"][:1] in {("prompts",), ("rows",)} and len(place) > 1:
        row, place = f"prompt {int(details['loc'][1]) + 1}", place[2:]
    message = str(details["msg"]).removeprefix("Value error, ").rstrip(".")
    if details["type"] == "string_too_short":
        message = "it is empty"
    if details["type"] == "too_short" and place == ["prompts"]:
        message = "the list is empty; give at least one prompt"
    name = " ".join(place)
    said = "" if name and message.startswith(name) else name
    where = " ".join(filter(None, (row, said)))
    return f"{where}: {message}" if where else message


def _name(part: str) -> str:
    """Return a field's name; what is none may be a prompt in the wrong place, and is not told."""
    return part if re.fullmatch(r"[a-z_]{1,30}|[0-9]{1,3}", part) else "(no field)"


def plan(
    batch: BatchRequest,
    style: Style,
    capabilities: Capabilities,
    *,
    references: Sequence[Digest] = (),
    own: Sequence[Terms] = (),
) -> tuple[ImageRequest, ...]:
    """Return one checked request an image, prompts in input order, samples of one side by side.

    Equal requests are several pictures: each later one takes the next sample number. A given seed
    is raised by the sample number, so that samples differ and can be made again.

    Args:
        batch: What is asked.
        style: Draws every prompt, unless `own` says otherwise; so do the next two.
        capabilities: Of the model that is asked.
        references: Digests of what guides it.
        own: What each prompt is drawn by, where rows differ.

    Raises:
        UnsupportedRequest: the model cannot do what one of them asks.
    """
    terms = own or [Terms(style, capabilities, tuple(references))] * len(batch.prompts)
    seen: Counter[tuple[str, DiffusionWish | None]] = Counter()
    requests = []
    asked = zip(batch.prompts, batch.settled, terms, strict=True)
    for number, (words, row, by) in enumerate(asked, start=1):
        with about(number if batch.rows else 0):
            first = _request(batch, row, by, words=words)
        alike = (first.key if batch.rows else words, row.diffusion)  # a key takes its time
        for _ in range(batch.samples):
            requests.append(_sampled(first, seen[alike]))
            seen[alike] += 1
    return tuple(requests)


def _request(batch: BatchRequest, row: Row, by: Terms, *, words: str) -> ImageRequest:
    """Return the first sample of a prompt, checked against what the model can do."""
    style, capabilities = by.style, by.capabilities
    _check_settings(row, capabilities)
    request = ImageRequest(
        provider=capabilities.provider,
        model=capabilities.model,
        prompt=style.render(words),
        subject=words,
        style=style.name,
        negative_prompt=", ".join(filter(None, (row.negative_prompt, style.negative_prompt))),
        aspect_ratio=row.aspect_ratio,
        size=row.size or capabilities.default_size,
        seed=row.seed,
        safety=batch.safety,
        references=by.references,
    )
    capabilities.check(request)
    return request


def _sampled(first: ImageRequest, sample: int) -> ImageRequest:
    seed = None if first.seed is None else (first.seed + sample) % 2**31
    return first.model_copy(update={"sample": sample, "seed": seed}) if sample else first


def _check_settings(row: Row, capabilities: Capabilities) -> None:
    who = f"{capabilities.provider}/{capabilities.model}"
    if row.seed is not None and not capabilities.seed:
        raise UnsupportedRequest(f"{who} takes no seed.", remedy="Leave it out.")
    if not is_left_out(row.diffusion) and not capabilities.diffusion:
        raise UnsupportedRequest(
            f"{who} takes no diffusion settings.",
            remedy="Leave `diffusion` out, or choose a provider that draws with a checkpoint of "
            "yours, such as sdxl.",
        )
