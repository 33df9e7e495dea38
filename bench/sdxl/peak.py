"""Section `peak`: the matrix rate that the device really reaches, and the work that a picture is."""

import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.sdxl.run import Figures, Run, Setting, sync
from bench.sdxl.scratch import building, made_control, made_encoder, made_unet, made_vae

TITLE = "Peak: what the device reaches, and what a picture takes"


def measure(run: Run) -> None:
    for side, rate in run.rates_tflops.items():
        run.row(f"matmul {side} x {side}, {run.setting.dtype}", lambda r=rate: {"tflops": _r(r)})
    work = run.row("work, TFLOP", lambda: {k: _r(v) for k, v in run.tflop.items()})
    if "image" in work:
        run.row("limit at that peak", lambda: {
            "images_per_s": _r(run.peak_tflops / run.tflop["image"]),
            "with_control": _r(run.peak_tflops / run.tflop["image_with_control"]),
        })  # fmt: skip


def aims(rows: dict[str, Figures]) -> list:
    return []


def matmul_rates(setting: Setting) -> dict[int, float]:
    """Return TFLOP/s by side of the matrices: best of the medians, multiply and add counted as 2."""
    rates = {}
    for side in (4096, 8192) if setting.cuda else (256,):
        a, b = (
            torch.randn(side, side, device=setting.device, dtype=getattr(torch, setting.dtype))
            for _ in range(2)
        )
        times = []
        for _ in range(8):
            sync(setting)
            began = time.perf_counter()
            for _ in range(20):
                a @ b
            sync(setting)
            times.append((time.perf_counter() - began) / 20)
        rates[side] = 2 * side**3 / sorted(times)[len(times) // 2] / 1e12
    return rates


def counted(config: Path, setting: Setting) -> dict[str, float]:
    """Return TFLOP of each part's one call and of a whole picture. Shapes only: the meta device."""
    with building("meta", torch.float32, 0):
        unet, vae = made_unet(config), made_vae(config)
        encoders = [made_encoder(config, second=second) for second in (False, True)]
        net = made_control(config)
    side = setting.size_px // 8
    latents, picture = _empty(1, 4, side, side), _empty(1, 3, setting.size_px, setting.size_px)
    pooled = (
        unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    )
    words = {
        "encoder_hidden_states": _empty(1, 77, unet.config.cross_attention_dim),
        "added_cond_kwargs": {"text_embeds": _empty(1, pooled), "time_ids": _empty(1, 6)},
    }
    ids = torch.zeros(1, 77, dtype=torch.long, device="meta")
    work = {
        "unet": _count(lambda: unet(latents, _empty(1), **words)),
        "control": _count(lambda: net(latents, _empty(1), controlnet_cond=picture, **words)),
        "vae_decode": _count(lambda: vae.decode(latents)),
        "text": _count(lambda: [encoder(ids) for encoder in encoders]),
    }
    # Classifier-free guidance: every step and every text twice.
    once = work["vae_decode"] + 2 * work["text"]
    work["image"] = once + 2 * setting.steps * work["unet"]
    work["image_with_control"] = work["image"] + 2 * setting.steps * work["control"]
    return work


def _empty(*shape: int):
    return torch.empty(*shape, device="meta")


def _count(call) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 1e12


def _r(value: float) -> float:
    return float(f"{value:.4g}")
