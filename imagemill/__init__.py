"""imagemill: prompts in, images out, paid for exactly once, stored and announced.

The ground floor. Everything that can be decided without Prefect, a web framework or the
environment is decided here; it may import none of them (held by import-linter).
"""

__version__ = "0.1.0"
