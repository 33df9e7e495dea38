"""CLIP's tokenizer files, computed from the vocabulary that OpenAI published with CLIP.

SDXL's two tokenizers are that one; they differ in what they pad with. No library is needed here.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping

from imagemill.errors import ServiceError

BPE_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
"""Of `bpe_simple_vocab_16e6.txt.gz` (1,356,917 bytes) in open-clip-torch 3.3.0, read 2026-11; the file
that openai/CLIP (MIT) carries."""
MERGES, ENTRIES = 48_894, 49_408
"""The file lists more merges than CLIP was trained with: its first 49,152 - 256 - 2 count
(`clip/simple_tokenizer.py`)."""
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
PADDING = {"tokenizer": END, "tokenizer_2": "!"}


def tokenizer_files(bpe: bytes) -> dict[str, bytes]:
    """Return the files of SDXL's two tokenizers by their paths in a config folder.

    Args:
        bpe: `bpe_simple_vocab_16e6.txt.gz`, whole.

    Raises:
        ServiceError: it is another file.
    """
    if hashlib.sha256(bpe).hexdigest() != BPE_SHA256:
        raise ServiceError(
            "The vocabulary is not the file that was checked.",
            remedy="Run `make setup-gpu` with the pinned package.",
        )
    merges = gzip.decompress(bpe).decode("utf-8").split("\n")[1 : MERGES + 1]
    vocabulary = _as_json(_entries(merges))
    listed = ("#version: 0.2\n" + "\n".join(merges) + "\n").encode()
    files: dict[str, bytes] = {}
    for name, padding in PADDING.items():
        special = {"bos_token": BEGIN, "eos_token": END, "pad_token": padding, "unk_token": END}
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
        files |= {
            f"{name}/vocab.json": vocabulary,
            f"{name}/merges.txt": listed,
            f"{name}/special_tokens_map.json": _as_json(special),
            f"{name}/tokenizer_config.json": _as_json(config),
        }
    return files


def _entries(merges: list[str]) -> dict[str, int]:
    """Number all tokens: bytes, bytes that end a word, merges, begin and end."""
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += ["".join(merge.split()) for merge in merges]
    tokens += [BEGIN, END]
    return {token: index for index, token in enumerate(tokens)}


def _byte_letters() -> list[str]:
    """Return the letters that stand for the 256 bytes, printable ones for themselves and first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    return [*map(chr, printable), *map(chr, range(256, 512 - len(printable)))]


def _as_json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
