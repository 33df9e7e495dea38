"""The engines of this process, one for each set of options: they stay warm from run to run."""

import atexit
import threading
from collections.abc import Callable

from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.options import SdxlOptions

_engines: dict[str, Engine] = {}
_making = threading.Lock()


def engine_of(options: SdxlOptions, make: Callable[[SdxlOptions], Engine] = Engine) -> Engine:
    """Return this process's engine for these options, started at the first call.

    Raises:
        ProviderMisconfigured: torch or the device is not there.
    """
    key = options.model_dump_json()
    with _making:
        if key not in _engines or _engines[key].closed:
            _engines[key] = make(options)
        return _engines[key]


def running_engine(options: SdxlOptions) -> Engine | None:
    """Return this process's engine for these options if it was started."""
    return _engines.get(options.model_dump_json())


def close_engines() -> None:
    """End all engines of this process and free their memory."""
    with _making:
        while _engines:
            _engines.popitem()[1].close()


def running_engines() -> list[Engine]:
    """Return all engines of this process that were started."""
    return list(_engines.values())


# A GPU thread that is cut off amid a call takes the interpreter down with it.
atexit.register(close_engines)
