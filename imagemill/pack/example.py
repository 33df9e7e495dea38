"""The pack to start from, as `imagemill assets --example` writes it; `examples/pack.yaml` is the same."""

from importlib import resources

EXAMPLE = (resources.files("imagemill.pack") / "example.yaml").read_text("utf-8")
