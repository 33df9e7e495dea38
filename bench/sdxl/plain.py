"""The peers: plain diffusers as one writes it in an afternoon, one picture after the other."""

import io
import time

import torch

from bench.sdxl.ours import NEGATIVE
from bench.sdxl.run import Run


class PlainLoop:
    """One pipeline, batch 1, PNG in the loop. Another checkpoint is another `from_single_file`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._name = ""
        self._pipe = None
        self.loads = 0

    def load(self, name: str) -> None:
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline

        files, setting = self._run.files, self._run.setting
        self._pipe = None  # reference counts alone free it (facts/sdxl.md, 2)
        if setting.cuda:
            torch.cuda.empty_cache()
        pipe = StableDiffusionXLPipeline.from_single_file(
            str(files.checkpoints[name]), config=str(files.config), local_files_only=True,
            dtype=getattr(torch, setting.dtype), add_watermarker=False,
        ).to(setting.device)  # fmt: skip
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="dpmsolver++", use_karras_sigmas=True
        )
        pipe.set_progress_bar_config(disable=True)
        self._pipe, self._name = pipe, name
        self.loads += 1

    def draw(self, name: str, number: int, *, tag: str = "") -> bytes:
        """Draw picture `number` of a checkpoint; returns its PNG."""
        if name != self._name:
            self.load(name)
        s = self._run.setting
        picture = self._pipe(
            f"a red fox, picture {number} {tag}", negative_prompt=NEGATIVE,
            height=s.size_px, width=s.size_px, num_inference_steps=s.steps,
            guidance_scale=s.guidance, generator=torch.Generator("cpu").manual_seed(number),
        ).images[0]  # fmt: skip
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()

    def rate(self, name: str, count: int, *, tag: str) -> float:
        """Return images a second of `count` pictures of one checkpoint, already loaded."""
        began = time.perf_counter()
        for number in range(count):
            self.draw(name, number, tag=tag)
        return count / (time.perf_counter() - began)
