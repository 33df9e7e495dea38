"""GPU memory: its figures, a cap for trying smaller cards, and what an overflow looks like."""

from typing import Any

from imagemill.providers.sdxl.loading import Place

GB = 1e9


def figures(place: Place) -> dict[str, Any]:
    """Return name, memory in use, its peak and the card's, for an `EngineReport`."""
    if place.device.type != "cuda":
        return {"device": "cpu"}
    import torch

    _, total = torch.cuda.mem_get_info(place.device)
    return {
        "device": torch.cuda.get_device_name(place.device),
        "vram_gb": round(torch.cuda.memory_allocated(place.device) / GB, 3),
        "vram_peak_gb": round(torch.cuda.max_memory_allocated(place.device) / GB, 3),
        "vram_total_gb": round(total / GB, 1),
    }


def cap(place: Place, gb: float | None) -> None:
    """Behave as on a card of so much memory: what is beyond it is out of memory.

    None is the whole card, also where an earlier engine of this process had a cap.
    """
    if place.device.type != "cuda":
        return
    import torch

    _, total = torch.cuda.mem_get_info(place.device)
    share = 1.0 if gb is None else min(1.0, gb * GB / total)
    torch.cuda.set_per_process_memory_fraction(share, place.device)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that a smaller bucket may fit."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def context_is_gone(error: BaseException) -> bool:
    """Tell whether the GPU gave up this process: after an illegal access every further call fails."""
    import torch

    return isinstance(error, torch.AcceleratorError) and not out_of_memory(error)
