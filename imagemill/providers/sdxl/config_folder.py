"""The folder that says what SDXL is: what `from_single_file(config=...)` reads instead of the network.

Values of stabilityai/stable-diffusion-xl-base-1.0 that differ from diffusers' defaults. Its VAE is the
one baked into checkpoints, which is decoded in float32 (`force_upcast`); a VAE folder brings its own.
"""

from pathlib import Path

from imagemill.providers.sdxl.tokenizers import tokenizer_files
from imagemill.spool import write_durably

SHIPPED = Path(__file__).parent / "config"
INDEX = "model_index.json"


def write_config_folder(folder: Path, *, bpe: bytes) -> None:
    """Write the config of every part and the tokenizers; the index comes last, so it means all is there.

    Args:
        folder: Where; what is there is overwritten.
        bpe: CLIP's vocabulary, see `tokenizer_files`.

    Raises:
        ServiceError: the vocabulary is another file; nothing was written.
        ArtifactError: the folder cannot be written.
    """
    files = tokenizer_files(bpe)
    shipped = {str(each.relative_to(SHIPPED)): each for each in SHIPPED.rglob("*.json")}
    files |= {name: path.read_bytes() for name, path in shipped.items()}
    (folder / INDEX).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == INDEX):
        write_durably(folder / name, files[name])
