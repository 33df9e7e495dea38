"""The part of the batch's form where a prompt has settings of its own: JSON Schema, field by field.

A test holds it to `imagemill.rows.Row`.
"""

from typing import Annotated, Any, get_args

from flows.form import MAX_REFERENCES, MAX_SEED, tab, titled
from imagemill.bounds import ASPECT_RATIOS, SIZES
from imagemill.diffusion import MAX_LORAS, MAX_STEPS, Control, Sampler
from imagemill.prompt import shelf
from imagemill.request import MAX_PROMPT_CHARS, MAX_PROMPTS

_WORDS = tab("Prompt", "string", minLength=1, maxLength=MAX_PROMPT_CHARS)

_DIFFUSION = {
    "steps": tab("Steps", "integer", minimum=1, maximum=MAX_STEPS),
    "guidance": tab("Guidance", "number", minimum=0, maximum=30),
    "sampler": tab("Sampler", "string", enum=list(get_args(Sampler))),
    "control": tab("Kept of a reference", "string", enum=list(get_args(Control))),
    "control_scale": tab("How firmly", "number", minimum=0, maximum=2),
    "strength": tab("Strength", "number", exclusiveMinimum=0, maximum=1),
    "loras": tab("LoRAs", "array", items={"type": "string"}, maxItems=MAX_LORAS),
}
ROW = {
    "prompt": _WORDS,
    "style_name": {
        "title": "Style",
        "anyOf": [
            tab("From the shelf", "string", enum=list(shelf())),
            tab("Your own", "string", maxLength=60),
        ],
    },
    "aspect_ratio": tab("Aspect ratio", "string", enum=list(ASPECT_RATIOS)),
    "size": tab("Size", "string", enum=list(SIZES)),
    "seed": tab("Seed", "integer", minimum=0, maximum=MAX_SEED),
    "negative_prompt": tab("Avoid", "string", maxLength=4_000),
    "references": tab(
        "Reference images", "array", items={"type": "string"}, maxItems=MAX_REFERENCES
    ),
    "model": tab("Model", "string", maxLength=200),
    "diffusion": tab("Diffusion", "object", properties=_DIFFUSION, additionalProperties=False),
}

Prompts = Annotated[
    list[str | dict[str, Any]],
    titled(
        "Prompts",
        tab("Words", "array", items=_WORDS),
        tab(
            "Rows",
            "array",
            items=tab(
                "Row", "object", properties=ROW, required=["prompt"], additionalProperties=False
            ),
        ),
        min_length=1,
        max_length=MAX_PROMPTS,
        examples=[["a red fox in the snow", "a lighthouse at night"]],
    ),
]
DiffusionSettings = Annotated[
    dict[str, Any] | None,
    titled(
        "Diffusion",
        tab("The checkpoint's own", "null"),
        tab("Set", "object", properties=_DIFFUSION, additionalProperties=False),
    ),
]
