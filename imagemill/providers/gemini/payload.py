"""An `ImageRequest` in Google's words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imagemill.catalog import CatalogModel
from imagemill.errors import UnsupportedRequest
from imagemill.request import ImageRequest, Safety

if TYPE_CHECKING:
    from google.genai import types

KEY_HEADER = "x-imagemill-key"
"""Names the request to a private gateway, so that its log and our ledger can be compared."""

_THRESHOLDS: dict[Safety, str] = {
    "block_none": "OFF",
    "block_few": "BLOCK_ONLY_HIGH",
    "block_some": "BLOCK_MEDIUM_AND_ABOVE",
    "block_most": "BLOCK_LOW_AND_ABOVE",
}
"""The document's Imagen words (003, line 79) as today's thresholds (google-genai 3.4.0)."""

_HARMS = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)

_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def words(request: ImageRequest) -> str:
    """Return the prompt with what to avoid behind it: generate_content has no field for that."""
    if not request.negative_prompt:
        return request.prompt
    return f"{request.prompt}\n\nAvoid: {request.negative_prompt}"


def contents(request: ImageRequest, references: Sequence[bytes]) -> list[Any]:
    """Return the words and then the reference images, in order.

    Raises:
        UnsupportedRequest: a reference is not PNG, JPEG or WebP.
    """
    from google.genai import types

    return [
        types.Part.from_text(text=words(request)),
        *(
            types.Part.from_bytes(data=data, mime_type=media_type(data, position))
            for position, data in enumerate(references, start=1)
        ),
    ]


def content_config(
    request: ImageRequest, model: CatalogModel, *, http: "types.HttpOptions"
) -> "types.GenerateContentConfig":
    """Return what generate_content is told beside the words."""
    from google.genai import types

    size = request.size if len(model.sizes) > 1 else None  # one-size models refuse the field
    threshold = types.HarmBlockThreshold(_THRESHOLDS[request.safety])
    return types.GenerateContentConfig(
        http_options=http,
        response_modalities=["IMAGE"],
        image_config=types.ImageConfig(aspect_ratio=request.aspect_ratio, image_size=size),
        seed=request.seed,
        safety_settings=[
            types.SafetySetting(category=types.HarmCategory(harm), threshold=threshold)
            for harm in _HARMS
        ],
    )


def imagen_config(
    request: ImageRequest, model: CatalogModel, *, http: "types.HttpOptions"
) -> "types.GenerateImagesConfig":
    """Return what generate_images is told beside the words (Vertex only)."""
    from google.genai import types

    threshold = _THRESHOLDS[request.safety].replace("OFF", "BLOCK_NONE")
    return types.GenerateImagesConfig(
        http_options=http,
        number_of_images=1,
        negative_prompt=request.negative_prompt or None,
        aspect_ratio=request.aspect_ratio,
        image_size=request.size if len(model.sizes) > 1 else None,
        seed=request.seed,
        add_watermark=False if request.seed is not None else None,  # a seed needs it off
        safety_filter_level=types.SafetyFilterLevel(threshold),
        include_rai_reason=True,
    )


def http_options(
    request: ImageRequest, *, timeout_s: float, private_gateway: bool
) -> "types.HttpOptions":
    """Return this call's own HTTP options; the request's key goes to private gateways only."""
    from google.genai import types

    headers = {KEY_HEADER: request.key} if private_gateway else None
    return types.HttpOptions(timeout=int(timeout_s * 1000), headers=headers)


def media_type(data: bytes, position: int) -> str:
    """Return the media type of the picture at `position`, counted from 1.

    Raises:
        UnsupportedRequest: not PNG, JPEG or WebP.
    """
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise UnsupportedRequest(
        f"Reference image {position} is not a PNG, JPEG or WebP picture.",
        remedy="Convert it to one of them.",
    )
