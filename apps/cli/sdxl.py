"""`imagemill sdxl`: draw with the checkpoints on this machine's GPU."""

from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.batch import check_early, finish, local_runs
from apps.cli.prompts import read_prompts
from apps.cli.screen import busy
from imagemill.diffusion import DiffusionWish
from imagemill.errors import RequestError


def sdxl(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="One prompt an image.", show_default=False)
    ] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option("--prompts-file", "-f", help="A prompt a line; .jsonl and .csv: rows."),
    ] = None,
    style: Annotated[
        str, typer.Option("--style", "-s", help="Ultra Realistic, Semi Realistic, Anime, …")
    ] = "Ultra Realistic",
    provider: Annotated[
        str, typer.Option("--provider", "-p", help="sdxl, or sdxl/NAME of a saved block.")
    ] = "sdxl",
    aspect_ratio: Annotated[str, typer.Option("--aspect-ratio", "-r", help="Like 16:9.")] = "1:1",
    size: Annotated[str, typer.Option(help="256, 512 or 1K.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Makes it repeatable.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=16, help="Images a prompt.")] = 1,
    avoid: Annotated[str, typer.Option(help="What not to show.")] = "",
    reference: Annotated[str, typer.Option(help="Image to be guided by.")] = "",
    control: Annotated[str, typer.Option(help="What of it is kept: canny, depth or none.")] = "",
    control_scale: Annotated[float | None, typer.Option(min=0, max=2, help="How firmly.")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much of it is drawn anew.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=150, help="Denoising steps.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=30, help="How closely words are followed.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="euler, dpmpp_2m_karras, …")] = "",
    lora: Annotated[
        list[str] | None, typer.Option("--lora", help="NAME or NAME:WEIGHT; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also put files here.")] = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="By the warm lane of `up --gpu`: no load, no start.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Spread over the pool gpu; 0 is all of it."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result, and only it, to standard output.")
    ] = False,
) -> None:
    """Draw with the SDXL checkpoints of IMAGEMILL_SDXL_MODELS, on this machine's GPU.

    Images of one checkpoint and size are drawn several at once; each checkpoint is loaded once.

    [dim]imagemill sdxl "a lighthouse at night" --style Anime --samples 4[/]
    [dim]imagemill sdxl "as an oil painting" --reference photo.png --strength 0.6[/]
    """  # fmt: skip
    if warm and workers is not None:
        raise RequestError(
            "--warm and --workers exclude each other.",
            remedy="The warm lane is one process; leave one of them out.",
        )
    fields: dict[str, Any] = {
        "prompts": [*(prompts or []), *read_prompts(prompts_file)], "style_name": style,
        "provider": provider, "aspect_ratio": aspect_ratio, "size": size, "seed": seed,
        "samples": samples, "negative_prompt": avoid, "reference_image": reference,
        "control": control, "control_scale": control_scale, "strength": strength or None,
        "steps": steps, "guidance": guidance, "sampler": sampler, "loras": lora or [],
        # Whole, for the lane and the workers have folders of their own.
        "output_dir": str(out.expanduser().absolute()) if out else "",
    }  # fmt: skip
    readable = check_early(_as_batch(fields))
    with local_runs(len(fields["prompts"]) * samples, readable) as runs:
        if warm:
            with busy("The warm lane draws …"):
                result = runs.warm(fields)
        elif workers is not None:
            result = runs.sdxl(fields, workers=workers)
        else:
            result = runs.sdxl(fields)
    finish(result, as_json=as_json)


def _as_batch(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as a batch has them, so that what is plainly wrong is refused at once."""
    wishes = tuple(DiffusionWish.model_fields)
    own = ("reference_image", *wishes)
    wish = {name: fields[name] for name in wishes if fields[name] not in (None, "", [])}
    reference = fields["reference_image"]
    return {
        **{name: value for name, value in fields.items() if name not in own},
        "references": [reference] if reference else [], "fallback": [], "diffusion": wish or None,
    }  # fmt: skip
