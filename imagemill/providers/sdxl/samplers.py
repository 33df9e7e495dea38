"""Samplers by name. Each takes one generator an image, so that a seed means the same in any bucket.

`DPMSolverSDEScheduler` is left out: its noise does not come from the given generators
(facts/sdxl.md, 2).
"""

from collections.abc import Callable, Mapping
from typing import Any

from imagemill.diffusion import Sampler

_KARRAS = {"use_karras_sigmas": True}
_SETTINGS: dict[Sampler, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": (
        "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS},
    ),
    "dpmpp_2m_sde_karras": (
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_KARRAS},
    ),
}  # fmt: skip


def scheduler(name: Sampler, base: Mapping[str, Any]) -> Any:  # noqa: ANN401 - diffusers' own class
    """Return a fresh diffusers scheduler for one call; it keeps state.

    Args:
        name: Which sampler.
        base: The checkpoint's own scheduler settings: noise schedule, spacing, prediction type.
    """
    import diffusers

    class_name, settings = _SETTINGS[name]
    made: Callable[..., Any] = getattr(diffusers, class_name).from_config
    return made(dict(base), **settings)
