"""The same batch through imagemill's flow. `python -m bench.ours IMAGES CONCURRENT` prints JSON."""

import asyncio
import json
import logging
import os
import resource
import sys
import time

os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


class Calls(logging.Handler):
    """Counts requests to the Prefect server: httpx logs each one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += os.environ["PREFECT_API_URL"] in record.getMessage()


def main() -> None:
    from flows.batch import generate_images_batch

    images, concurrent = int(sys.argv[1]), int(sys.argv[2])
    asyncio.run(generate_images_batch(["warm up"], max_concurrent=1))
    calls = Calls()
    logger = logging.getLogger("httpx")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(calls)
    body: dict[str, float] = {}
    timed(body)
    tag = time.time_ns()
    prompts = [f"picture {tag} {n}" for n in range(images)]
    started = time.monotonic()
    result = asyncio.run(generate_images_batch(prompts, max_concurrent=concurrent))
    wall = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "wall_s": wall, "body_s": body["s"], "clock_s": result["seconds"],
        "made": result["success_count"], "rss_mb": used.ru_maxrss / 1e3,
        "cpu_s": used.ru_utime + used.ru_stime, "server_calls": calls.count,
        "cost_usd": result["cost_usd"],
    }))  # fmt: skip


def timed(body: dict[str, float]) -> None:
    """Time the flow's body from its first line to its last."""
    from flows.batch import generate_images_batch

    inner = generate_images_batch.fn

    async def clocked(*args, **kwargs):
        started = time.monotonic()
        try:
            return await inner(*args, **kwargs)
        finally:
            body["s"] = time.monotonic() - started

    generate_images_batch.fn = clocked


if __name__ == "__main__":
    main()
