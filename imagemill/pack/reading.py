"""From a file's text to a `Pack`, or to the line that is wrong and what is allowed there.

No message repeats a value of the file: descriptions are prompts.
"""

from typing import Any

import yaml
from pydantic import ValidationError

from imagemill.errors import RequestError
from imagemill.pack.order import Pack

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
"""Values in the file, aliases followed: a few lines of aliases can stand for a billion."""
_MAX_TOLD = 8


def read_pack(text: str | bytes, *, name: str = "the pack") -> Pack:
    """Return the pack that a YAML text describes.

    Args:
        text: UTF-8 if bytes.
        name: How messages call it: a file's name.

    Raises:
        RequestError: not YAML, or not a pack; names every line and field that is wrong.
    """
    if len(text) > MAX_BYTES:
        raise RequestError(
            f"{name} has more than {MAX_BYTES:,} bytes.", remedy="Split it into several packs."
        )
    root = _composed(text, name)
    if not isinstance(root, yaml.MappingNode):
        raise RequestError(
            f"{name} is no pack: it must hold fields like `pack:` and `assets:`.",
            remedy="`imagemill assets --example` writes a pack to start from.",
        )
    _check_keys(root, name)
    try:
        return Pack.model_validate(_constructed(root, name))
    except ValidationError as error:
        told = _told(error, root)
    # Raised outside the handler: pydantic's error holds the input, and so would `__context__`.
    raise RequestError(f"{name} cannot be used: {told}.", remedy="Correct the lines named.")


def _composed(text: str | bytes, name: str) -> yaml.Node | None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        where = ": a sign in it cannot be read, or it is nested too deep"
    else:
        return root
    raise RequestError(
        f"{name} is not YAML{where}.",
        remedy="Indent with spaces, and put texts that hold ': ' or ' #' or begin with a sign "
        "in quotes.",
    )


def _constructed(root: yaml.MappingNode, name: str) -> Any:  # noqa: ANN401
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    finally:
        loader.dispose()
    raise RequestError(
        f"{name} uses a YAML tag or a value that has no place in a pack.",
        remedy="Use texts, whole numbers, lists and fields only.",
    )


def _check_keys(root: yaml.MappingNode, name: str) -> None:
    """Refuse a field that is given twice, and a file whose aliases unfold without end."""
    waiting: list[yaml.Node] = [root]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MAX_NODES:
            raise RequestError(
                f"{name} unfolds to more than {MAX_NODES:,} values.",
                remedy="Use `defaults` instead of aliases.",
            )
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for place, (key, _) in enumerate(node.value):
                if isinstance(key, yaml.ScalarNode) and key.value in keys[:place]:
                    raise RequestError(
                        f"{name} gives a field twice at line {key.start_mark.line + 1}.",
                        remedy="Keep one of the two.",
                    )
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _told(error: ValidationError, root: yaml.MappingNode) -> str:
    found: dict[str, None] = {}
    for each in error.errors(include_input=False, include_context=False, include_url=False):
        line, where = _place(root, each["loc"])
        if each["type"] == "extra_forbidden":
            known = ", ".join(_fields_at(each["loc"]))
            message = f"a field that is not known here (known: {known})"
        else:
            message = each["msg"].removeprefix("Value error, ")
            message = f"{where}: {message}" if where else message
        found[f"line {line}: {message}"] = None
    lines = list(found)
    more = f"; and {len(lines) - _MAX_TOLD} more" if len(lines) > _MAX_TOLD else ""
    return "; ".join(lines[:_MAX_TOLD]) + more


def _place(root: yaml.Node, path: tuple[int | str, ...]) -> tuple[int, str]:
    """Return the line, from 1, of the deepest part of a path that is in the file, and its words."""
    node, line, words = root, root.start_mark.line + 1, ""
    for part in path:
        found = _child(node, part)
        if found is None:
            words += f".{part}" if part in _KNOWN and words else str(part) * (part in _KNOWN)
            break
        node, line = found
        if isinstance(part, int):
            words += f"[{part + 1}]"
        elif part in _KNOWN:
            words += f".{part}" if words else part
    return line, words


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child, child.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in _spellings(part):
                return value, key.start_mark.line + 1
    return None


def _spellings(part: int | str) -> set[str]:
    """Return a field's name and its alias: an error says one, the file may say the other."""
    return next((pair for pair in _PAIRS if part in pair), {str(part)})


def _fields_at(path: tuple[int | str, ...]) -> list[str]:
    kind = _kind(Pack.model_json_schema(by_alias=True), path[:-1])
    return list(kind.get("properties", {}))


def _kind(schema: dict[str, Any], path: tuple[int | str, ...]) -> dict[str, Any]:
    """Return the schema of what is at a path, as far as it leads."""
    here = schema
    for part in path:
        if isinstance(part, int):
            here = here.get("items", {})
        else:
            fields = here.get("properties", {})
            here = next((fields[s] for s in _spellings(part) if s in fields), {})
        options = [here, *here.get("anyOf", ()), *here.get("allOf", ())]
        refs = [option["$ref"] for option in options if "$ref" in option]
        if refs:
            here = schema["$defs"][refs[0].rpartition("/")[2]]
    return here


def _pairs(kind: type[Any], seen: dict[str, set[str]]) -> dict[str, set[str]]:
    for name, field in kind.model_fields.items():
        seen.setdefault(name, {name}).add(field.alias or name)
        for inner in _models_in(field.annotation):
            _pairs(inner, seen)
    return seen


def _models_in(annotation: Any) -> list[type[Any]]:  # noqa: ANN401 - any type may stand here
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]


_PAIRS = list(_pairs(Pack, {}).values())
_KNOWN = frozenset(spelling for pair in _PAIRS for spelling in pair)
