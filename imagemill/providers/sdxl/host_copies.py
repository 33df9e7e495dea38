"""Checkpoints in host memory, page-locked where there is a GPU, ready to overwrite the resident one."""

from typing import Any

import psutil

from imagemill.errors import ProviderMisconfigured

SHARE = 0.5
"""Of the host memory that is free at the start, when nothing was set."""

Source = dict[str, dict[str, Any]]
"""Tensors by part and by name."""


class HostCopies:
    """Keeps what fits into a fixed budget; who came first stays.

    Checkpoints are asked for in turn, and dropping the least recently used one would then drop just
    the one that is needed next (ComfyUI PR 15027 found the same).

    Args:
        budget_gb: None is half of the memory that is free now.
        pin: Whether to lock the pages, so that the GPU reads them at full speed.
    """

    def __init__(self, budget_gb: float | None, *, pin: bool) -> None:
        free = psutil.virtual_memory().available * SHARE
        self._left_bytes = free if budget_gb is None else budget_gb * 1e9
        self._pin = pin
        self._kept: dict[str, Source] = {}

    def of(self, name: str) -> Source | None:
        """Return the copy of a checkpoint, or None."""
        return self._kept.get(name)

    def keep(self, name: str, modules: dict[str, Any]) -> bool:
        """Copy a checkpoint's modules if there is room; tell whether there was."""
        size = sum(
            self._taken(tensor.numel() * tensor.element_size())
            for module in modules.values()
            for tensor in module.state_dict().values()
        )
        if name in self._kept or size > self._left_bytes:
            return name in self._kept
        self._left_bytes -= size
        self._kept[name] = {
            part: {key: self._copy(tensor) for key, tensor in module.state_dict().items()}
            for part, module in modules.items()
        }
        return True

    def _taken(self, size_bytes: int) -> int:
        # torch rounds each page-locked block up to a power of two (CachingHostAllocator, torch 2.13).
        return 1 << (size_bytes - 1).bit_length() if self._pin and size_bytes else size_bytes

    def _copy(self, tensor: Any) -> Any:  # noqa: ANN401 - a torch tensor
        import torch

        # Laid out as `on_device` lays out convolutions: another order would cost a copy on the GPU.
        image = self._pin and tensor.dim() == 4
        layout = torch.channels_last if image else torch.contiguous_format
        copy = torch.empty(
            tensor.shape, dtype=tensor.dtype, pin_memory=self._pin, memory_format=layout
        )
        return copy.copy_(tensor)


def pairs_of(modules: dict[str, Any], source: Source) -> list[tuple[Any, Any]]:
    """Return each live tensor with the one that is to overwrite it.

    Raises:
        ProviderMisconfigured: the checkpoints differ in a name or a shape.
    """
    pairs: list[tuple[Any, Any]] = []
    for part, module in modules.items():
        target, wanted = module.state_dict(), source[part]
        if {k: v.shape for k, v in target.items()} != {k: v.shape for k, v in wanted.items()}:
            raise ProviderMisconfigured(
                f"The checkpoints differ in the make of their {part}; one cannot take the other's place.",
                remedy='Set swap to "reload".',
            )
        pairs += [(target[name], wanted[name]) for name in target]
    return pairs


def overwrite(pairs: list[tuple[Any, Any]]) -> None:
    """Copy tensors into live ones; their addresses stay. What they were is gone after the first."""
    import torch

    with torch.no_grad():
        for here, there in pairs:
            here.copy_(there, non_blocking=True)
    if pairs and pairs[0][0].is_cuda:
        torch.cuda.synchronize(pairs[0][0].device)
