"""Words to SDXL's embeddings, with weights and at any length: nothing is cut at 77 tokens.

A long prompt becomes chunks of 75 tokens, each encoded by itself and laid end to end, as AUTOMATIC1111
does. One prompt at a time: an embedding must not depend on its neighbours. torch is imported late.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.errors import UnsupportedRequest
from imagemill.providers.sdxl.prompt_syntax import Piece, parse

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

COMMA_REACH = 20
"""So many tokens a full chunk gives up to end at a comma (webui `comma_padding_backtrack`)."""
_COMMA = ",</w>"

Weighted = tuple[int, float]
"""A token and its weight."""
Chunk = tuple[Weighted, ...]
"""Up to 75 of them, without the marks of beginning and end."""


@dataclass(frozen=True, slots=True)
class Tokenizers:
    """The two parts of SDXL that cut words into tokens."""

    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer

    @classmethod
    def read(cls, config: Path) -> Tokenizers:
        """Return those of a config folder; transformers is imported here."""
        from transformers import CLIPTokenizer

        first, second = (
            CLIPTokenizer.from_pretrained(config / name, local_files_only=True)
            for name in ("tokenizer", "tokenizer_2")
        )
        return cls(first, second)


@dataclass(frozen=True, slots=True)
class TextParts(Tokenizers):
    """The four parts of SDXL that read words."""

    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a prompt and its negative prompt are to the UNet.

    Attributes:
        prompt_embeds: 1 x 77 n x 2048, in the second encoder's dtype and on its device.
        negative_embeds: Of the same shape.
        pooled: 1 x 1280, of the first chunk.
        negative_pooled: 1 x 1280.
        tokens: Of the prompt alone, without marks and padding.
        chunks: n, 1 or more.
    """

    prompt_embeds: torch.Tensor
    negative_embeds: torch.Tensor
    pooled: torch.Tensor
    negative_pooled: torch.Tensor
    tokens: int
    chunks: int


def encode(
    parts: TextParts, prompt: str, *, negative: str = "", chunks: int | None = None
) -> Encoded:
    """Encode a prompt; without weights and up to 75 tokens, bit for bit as diffusers does.

    Args:
        parts: Tokenizers and encoders; the encoders say where and in what precision.
        prompt: In the syntax of `prompt_syntax`.
        negative: The same; an empty one is encoded, not zeroed.
        chunks: Pad both to so many, so that prompts of different lengths fit one batch. Padding changes
            the picture. By default what the longer of the two needs.

    Raises:
        UnsupportedRequest: the prompt needs more than `chunks`.
    """
    import torch

    ours, theirs = _chunked(parts, prompt), _chunked(parts, negative)
    needed = max(map(len, (*ours, *theirs)))
    if chunks is not None and chunks < needed:
        raise UnsupportedRequest(
            f"The prompt fills {needed} chunks of 75 tokens; {chunks} were allowed.",
            remedy="Shorten the prompt or the negative prompt.",
        )
    count = chunks or needed
    with torch.no_grad():
        prompt_embeds, pooled = _embedded(parts, ours, count=count)
        negative_embeds, negative_pooled = _embedded(parts, theirs, count=count)
    tokens = sum(map(len, ours[0]))
    return Encoded(prompt_embeds, negative_embeds, pooled, negative_pooled, tokens, count)


def count_chunks(parts: Tokenizers, prompt: str, *, negative: str = "") -> int:
    """Say how many chunks the longer of the two needs; loads and computes nothing heavy."""
    return max(map(len, (*_chunked(parts, prompt), *_chunked(parts, negative))))


def chunk_tokens(tokenizer: CLIPTokenizer, pieces: tuple[Piece, ...]) -> tuple[Chunk, ...]:
    """Lay weighted tokens into chunks of 75, the first of which may be empty.

    A full chunk ends at its last comma if that is among its last 20 tokens, so that a phrase is not torn.
    """
    limit = tokenizer.model_max_length - 2
    comma = tokenizer.convert_tokens_to_ids(_COMMA)
    done: list[Chunk] = []
    now: list[Weighted] = []
    for piece in pieces:
        if piece.starts_chunk and now:
            done.append(tuple(now))
            now = []
        for token in tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids:
            if len(now) == limit:
                cut = limit if token == comma else _cut(now, comma)
                done.append(tuple(now[:cut]))
                now = now[cut:]
            now.append((token, piece.weight))
    return (*done, tuple(now)) if now or not done else tuple(done)


def _cut(full: list[Weighted], comma: int) -> int:
    for end in range(len(full), len(full) - COMMA_REACH, -1):
        if full[end - 1][0] == comma:
            return end
    return len(full)


def _chunked(parts: Tokenizers, prompt: str) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Chunks for either encoder. Both read the same vocabulary, but nothing here relies on it."""
    pieces = parse(prompt)
    return chunk_tokens(parts.tokenizer, pieces), chunk_tokens(parts.tokenizer_2, pieces)


def _embedded(
    parts: TextParts, chunked: tuple[tuple[Chunk, ...], tuple[Chunk, ...]], *, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 1 x 77 count x 2048 and the pooled 1 x 1280 of the first chunk."""
    import torch

    first, second = (side + ((),) * (count - len(side)) for side in chunked)
    one = [_states(parts.tokenizer, parts.text_encoder, chunk)[0] for chunk in first]
    two = [_states(parts.tokenizer_2, parts.text_encoder_2, chunk) for chunk in second]
    rows = [torch.cat([a, b], dim=-1) for a, (b, _) in zip(one, two, strict=True)]
    embeds = torch.cat(rows, dim=1).to(parts.text_encoder_2.dtype)
    return embeds, two[0][1]


def _states(
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel | CLIPTextModelWithProjection,
    chunk: Chunk,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a chunk's states before the last layer, 1 x 77 x width, and the encoder's first output."""
    import torch

    padding = [tokenizer.pad_token_id] * (tokenizer.model_max_length - 2 - len(chunk))
    words = [token for token, _ in chunk]
    ids = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id, *padding]
    out = encoder(torch.tensor([ids], device=encoder.device), output_hidden_states=True)
    weights = [weight for _, weight in chunk]
    return _weighed(out.hidden_states[-2], weights), out[0]


def _weighed(states: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """Multiply each token's state by its weight and restore the chunk's mean, as webui does.

    The factor that restores it stays between 1 / largest and 1 / smallest weight: where the states' signs
    cancel, their mean says nothing, and dividing by it would blow the chunk up.
    """
    import torch

    if all(weight == 1.0 for weight in weights):
        return states
    row = torch.ones(states.shape[1], device=states.device)
    row[1 : 1 + len(weights)] = torch.tensor(weights, device=states.device)
    plain = states.float()
    heavy = plain * row[None, :, None]
    ratio = torch.nan_to_num(plain.mean() / heavy.mean(), nan=1.0)
    ratio = ratio.clamp(1 / max(1.0, *weights), 1 / min(1.0, *weights))
    return (heavy * ratio).to(states.dtype)
