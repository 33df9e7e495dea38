"""The shelf of the asset loop: templates, negative prompts and questions as data, in `shelf/*.toml`."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_GAP = re.compile(r"\{([a-z_]+)\}")


@cache
def shelf_file(name: str) -> Mapping[str, Any]:
    """Return the table in `shelf/<name>.toml`."""
    file = resources.files("imagemill.asset") / "shelf" / f"{name}.toml"
    return tomllib.loads(file.read_text("utf-8"))


def gaps(template: str) -> set[str]:
    """Return the names of the gaps in a template."""
    return set(_GAP.findall(template))


def as_data(text: str) -> str:
    """Return others' words so that they cannot close the tags a question puts around them."""
    return text.replace("</", "< /")


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its gaps filled, in one pass: braces in the values are left alone."""
    return _GAP.sub(lambda gap: values[gap[1]], template).strip()
