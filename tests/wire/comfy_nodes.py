"""The few nodes that the fake ComfyUI knows, and how it refuses a graph: as the recorded samples do."""

import json
from typing import Any

Json = dict[str, Any]
Graph = dict[str, Json]


def _int(low: int, high: int) -> list[Any]:
    return ["INT", {"default": 1, "min": low, "max": high}]


def node_classes(checkpoints: list[str], pictures: list[str]) -> dict[str, Json]:
    """Required inputs by class, each as /object_info tells it."""
    size = {"width": _int(16, 16384), "height": _int(16, 16384), "batch_size": _int(1, 4096)}
    return {
        "CheckpointLoaderSimple": {"ckpt_name": [checkpoints, {"tooltip": "The checkpoint."}]},
        "EmptyLatentImage": size,
        "EmptyImage": size,
        "CLIPTextEncode": {"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]},
        "CLIPTextEncodeSDXL": {
            "text_g": ["STRING", {}], "text_l": ["STRING", {}], "clip": ["CLIP"],
        },
        "PrimitiveString": {"value": ["STRING", {}]},
        "LoadImage": {"image": [pictures, {"image_upload": True}]},
        "VAEEncode": {"pixels": ["IMAGE"], "vae": ["VAE"]},
        "KSampler": {
            "model": ["MODEL", {}], "seed": _int(0, 2**64 - 1), "steps": _int(1, 10000),
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}],
            "sampler_name": [["euler", "dpmpp_2m"], {}], "scheduler": [["normal", "karras"], {}],
            "positive": ["CONDITIONING", {}], "negative": ["CONDITIONING", {}],
            "latent_image": ["LATENT", {}], "denoise": ["FLOAT", {"min": 0.0, "max": 1.0}],
        },
        "VAEDecode": {"samples": ["LATENT", {}], "vae": ["VAE", {}]},
        "SaveImage": {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {}]},
    }  # fmt: skip


def object_info(name: str, required: Json) -> Json:
    saves = name == "SaveImage"
    return {
        "input": {"required": required}, "input_order": {"required": list(required)},
        "output": ["LATENT"], "output_is_list": [False], "output_name": ["LATENT"],
        "name": name, "display_name": name, "description": "", "python_module": "nodes",
        "category": "any", "output_node": saves, "output_tooltips": ["Something."],
    }  # fmt: skip


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def refusal(graph: Json, classes: dict[str, Json]) -> tuple[Json | None, Json, list[str]]:
    """Return the `error` (None when something runs), `node_errors`, and the outputs that run."""
    for node, parts in graph.items():
        kind = parts.get("class_type") if isinstance(parts, dict) else None
        if kind not in classes:
            why = f"node {kind} does not exist." if kind else "a node is missing the class_type."
            return _error("invalid_prompt", f"Cannot execute because {why}", f"Node ID '#{node}'")
    outputs = [node for node, parts in graph.items() if parts["class_type"] == "SaveImage"]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs", "")
    found: Json = {}
    bad = {output for output in outputs if not _runs(graph, output, output, classes, found)}
    good = [output for output in outputs if output not in bad]
    if good:
        return None, found, good
    error, *_ = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", "")
    return error, found, []


def _error(kind: str, message: str, details: str) -> tuple[Json, Json, list[str]]:
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return error, {}, []


NO_PROMPT = {
    "error": {
        "type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided",
        "extra_info": {},
    },
    "node_errors": {},
}  # fmt: skip


def _runs(graph: Graph, node: str, output: str, classes: dict[str, Json], found: Json) -> bool:
    """Check a node and all that it needs; what is wrong is added to `found`."""
    inputs = graph[node]["inputs"]
    errors = []
    for name, config in classes[graph[node]["class_type"]].items():
        errors += _input_errors(graph, (name, inputs.get(name), config), output, classes, found)
    if any(errors):
        told = {"errors": [e for e in errors if e is not True], "dependent_outputs": [output],
                "class_type": graph[node]["class_type"]}  # fmt: skip
        if told["errors"]:
            found[node] = told
    return not any(errors)


def _input_errors(
    graph: Graph,
    given: tuple[str, Any, list[Any]],
    output: str,
    classes: dict[str, Json],
    found: Json,
) -> list[Any]:
    """Errors of one input; True stands for a node upstream that told its own."""
    name, value, config = given
    if value is None:
        return [_told("required_input_missing", name, {"input_name": name})]
    if not is_link(value):
        more = {"input_name": name, "input_config": config, "received_value": value}
        return [_told(kind, f"{name} {value}", more) for kind in _wrong(value, config)]
    if value[0] in graph:
        return [] if _runs(graph, value[0], output, classes, found) else [True]
    trace = ['  File ".../execution.py", line 1010, in validate_prompt\n']
    extra = {"exception_type": "KeyError", "traceback": trace}
    return [_told("exception_during_validation", f"'{value[0]}'", extra)]


def _wrong(value: Any, config: list[Any]) -> list[str]:
    if isinstance(config[0], list):
        return [] if value in config[0] else ["value_not_in_list"]
    if config[0] != "INT" or config[1]["min"] <= int(value) <= config[1]["max"]:
        return []
    return ["value_bigger_than_max" if int(value) > config[1]["max"] else "value_smaller_than_min"]


def _told(kind: str, details: str, extra: Json) -> Json:
    return {"type": kind, "message": "What is wrong", "details": details, "extra_info": extra}


def signature(graph: Graph, node: str) -> str:
    """What a node's output depends on: two nodes with one signature are the same to the cache."""
    inputs = graph[node]["inputs"]
    told = {
        n: signature(graph, v[0]) if is_link(v) and v[0] in graph else v
        for n, v in sorted(inputs.items())
    }
    return json.dumps([graph[node]["class_type"], told])
