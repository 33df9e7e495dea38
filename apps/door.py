"""Where the command `imagemill` begins: Ctrl-C is quiet even while the libraries are imported."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from apps.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped before anything was begun.\n")
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
