"""One adapter a package. Adapters do not know each other."""

from imagemill.errors import RequestError

KINDS = ("gemini", "comfyui", "sdxl", "sketch")
EMBEDDED = frozenset({"comfyui", "sdxl", "sketch"})
"""Providers that draw on the owner's machines and bill nothing: an attempt whose process died may
simply be repeated (`Capabilities.embedded` says the same)."""


def split_name(name: str) -> tuple[str, str]:
    """Return kind and block of `"gemini"`, `"gemini/default"` or `"gemini/NAME"`.

    Raises:
        RequestError: no such kind.
    """
    kind, _, block = name.strip().partition("/")
    if kind not in KINDS:
        raise RequestError(
            f"There is no provider {kind[:60]!r}.",
            remedy=f"Choose one of {', '.join(KINDS)}, or KIND/NAME of a saved block.",
        )
    return kind, block or "default"
