"""Which checkpoints are in GPU memory, and how one takes another's place. GPU thread only.

Two ways (facts/sdxl.md, 3). `copy`: the next checkpoint's numbers overwrite the resident one's, from a
pinned copy in host memory: no allocation, so nothing can leak and compiled code stays valid.
`reload`: the old modules are dropped, seen to be gone, and the file is read.
"""

import gc
import logging
import time
import weakref
from collections import OrderedDict
from typing import Any

from imagemill.diffusion import Control
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.buckets import Group
from imagemill.providers.sdxl.drawer import OWN, Drawer
from imagemill.providers.sdxl.host_copies import HostCopies, overwrite, pairs_of
from imagemill.providers.sdxl.loading import (
    Place,
    load_checkpoint,
    load_control,
    load_vae,
    on_device,
)
from imagemill.providers.sdxl.options import SdxlOptions
from imagemill.providers.sdxl.tally import Tally

SHAPES = 256
"""Most shapes that may be compiled of one block: buckets x sizes x ratios x widths of the UNet. torch's
own limit of 8 would end a batch of many ratios with an error."""


class Weights:
    """Keeps at most `max_resident` checkpoints, one VAE and the ControlNets that were needed.

    Args:
        options: Which files; how many stay.
        place: Device and dtype.
        tally: Told of every load, swap and release.
    """

    def __init__(self, options: SdxlOptions, place: Place, tally: Tally) -> None:
        self._options = options
        self._place = place
        self._tally = tally
        self._vae: Any = None
        self._controls: dict[Control, Any] = {}
        self._here: OrderedDict[str, Drawer] = OrderedDict()
        self._copies = HostCopies(options.host_copies_gb, pin=place.device.type == "cuda")

    @property
    def resident(self) -> frozenset[str]:
        """Names of the checkpoints that need no loading."""
        return frozenset(self._here)

    def drawer_for(self, group: Group) -> Drawer:
        """Return what draws a group, with its checkpoint resident and its LoRAs in.

        Raises:
            ProviderMisconfigured: a file does not load.
            torch.OutOfMemoryError: no room for it.
        """
        if self._vae is None:
            self._vae = load_vae(self._options, self._place)
        drawer = self._here.get(group.checkpoint) or self._brought_in(group.checkpoint)
        self._here.move_to_end(group.checkpoint)
        self._control(drawer, group.control)
        drawer.dress(group.loras)
        return drawer

    def unload(self) -> None:
        """Free every checkpoint, ControlNet and the VAE; host copies stay."""
        for name in list(self._here):
            self._release(name)
        self._controls.clear()
        self._vae = None
        _emptied(self._place)

    def _brought_in(self, name: str) -> Drawer:
        full = len(self._here) >= self._options.max_resident
        oldest = next(iter(self._here), None)
        if full and oldest is not None:
            if self._copies_in_place():
                return self._swapped(oldest, name)
            while len(self._here) >= self._options.max_resident:
                self._release(next(iter(self._here)))
        return self._loaded(name)

    def _copies_in_place(self) -> bool:
        # A checkpoint with a VAE of its own brings more than the three parts that are overwritten.
        wanted = self._options.swap
        shared = self._vae is not None
        return shared and (wanted == "copy" or (wanted == "auto" and self._on_gpu()))

    def _on_gpu(self) -> bool:
        return bool(self._place.device.type == "cuda")

    def _loaded(self, name: str) -> Drawer:
        began = time.perf_counter()
        parts = self._from_file(name)
        if self._copies_in_place():
            self._copies.keep(name, {part: parts[part] for part in OWN})
        for part in OWN if self._vae is not None else (*OWN, "vae"):
            parts[part] = on_device(parts[part], self._place)
        if self._options.compile:
            _compiled(parts["unet"])
        drawer = Drawer(name, parts, self._controls, dict(self._options.loras))
        self._here[name] = drawer
        self._tally.loaded(name, seconds=time.perf_counter() - began)
        return drawer

    def _swapped(self, old: str, new: str) -> Drawer:
        """Overwrite the weights of `old` by those of `new`: from the host copy, else from the file."""
        began = time.perf_counter()
        drawer = self._here[old]
        drawer.undress()
        source = self._copies.of(new)
        if source is None:
            parts = self._from_file(new)
            source = {part: dict(parts[part].state_dict()) for part in OWN}
            self._copies.keep(new, {part: parts[part] for part in OWN})
            self._tally.loaded(new, seconds=0.0)
        pairs = pairs_of(drawer.modules(), source)
        # Half overwritten it would be nobody's checkpoint: it is listed again when it is whole.
        del self._here[old]
        overwrite(pairs)
        self._here[new] = drawer
        drawer.renamed(new)
        self._tally.swapped(seconds=time.perf_counter() - began)
        return drawer

    def _from_file(self, name: str) -> dict[str, Any]:
        if name not in self._options.checkpoints:
            raise ProviderMisconfigured(
                f"This worker has no checkpoint {name!r}.",
                remedy="Give all workers the same files.",
            )
        return load_checkpoint(self._options, name, vae=self._vae, dtype=self._place.dtype)

    def _release(self, name: str) -> None:
        """Drop a checkpoint and see that its memory is free; what is held is counted and told."""
        drawer = self._here.pop(name)
        modules = {part: weakref.ref(module) for part, module in drawer.modules().items()}
        drawer.forget()
        del drawer
        _emptied(self._place)
        held = [part for part, module in modules.items() if module() is not None]
        self._tally.released(leaked=len(held))
        if held:
            logging.getLogger(__name__).warning(
                "The memory of checkpoint %s is not free: something still holds its %s. "
                "A node may keep a reference; restart this worker.", name, ", ".join(held),
            )  # fmt: skip

    def _control(self, drawer: Drawer, kind: Control) -> None:
        if kind == "none" or kind in self._controls:
            return
        file = self._options.control_file(kind)
        if file is None:
            raise ProviderMisconfigured(
                f"This worker has no ControlNet for {kind}.",
                remedy="Give all workers the same files.",
            )
        same = next((k for k in self._controls if self._options.control_file(k) == file), None)
        began = time.perf_counter()
        made = (
            self._controls[same] if same else load_control(file, drawer.parts["unet"], self._place)
        )
        self._controls[kind] = made
        self._tally.control_loaded(seconds=time.perf_counter() - began)


def _compiled(unet: Any) -> None:  # noqa: ANN401 - a UNet
    """Compile a UNet's blocks, one program for each shape.

    Not `dynamic`: which program draws a shape would depend on what was drawn before it.
    """
    import torch

    torch._dynamo.config.recompile_limit = SHAPES  # noqa: SLF001 - torch names it so in its manual
    unet.compile_repeated_blocks(fullgraph=True, dynamic=False)


def _emptied(place: Place) -> None:
    """Return freed memory to the device."""
    import torch

    gc.collect()
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
        torch.cuda.empty_cache()
