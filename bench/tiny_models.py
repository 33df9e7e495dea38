"""A models folder with tiny random weights: `python -m bench.tiny_models DIR`, to try everything but art.

Its pictures are noise. Everything else is real: files, headers, swaps, buckets, workers, lanes.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

NAMES = ("RealVisXL_V4.0", "BSSEquinoxILSemi_v30", "animagine-xl-3.1")
"""The files of the three styles, as their publishers call them."""


def tiny_models(folder: Path) -> Path:
    """Write three checkpoints, a shared VAE, a ControlNet, a LoRA, a config folder and a reference."""
    from bench import tiny_sdxl

    for name in ("checkpoints", "vae", "controlnet", "loras"):
        (folder / name).mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        tiny_sdxl.save_checkpoint(folder / "checkpoints", seed=seed, name=name)
    tiny_sdxl.save_vae(folder / "vae" / "sdxl-vae-fp16-fix")
    tiny_sdxl.save_controlnet(folder / "controlnet" / "controlnet-canny-sdxl")
    tiny_sdxl.save_lora(folder / "loras", name="ink")
    tiny_sdxl.save_config(folder / "config")
    reference(folder / "reference.png")
    return folder


def reference(file: Path) -> Path:
    """Draw a picture with clear edges."""
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((20, 30, 100, 110), fill="black")
    picture.save(file)
    return file


if __name__ == "__main__":
    place = tiny_models(Path(sys.argv[1]).absolute())
    sys.stdout.write(
        f"export IMAGEMILL_SDXL_MODELS={place} IMAGEMILL_SDXL_CONFIG={place / 'config'}\n"
        'imagemill sdxl "a lighthouse at night" --size 256 --steps 4   # noise: random weights\n'
    )
