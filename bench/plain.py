"""The documents' own design, for comparison: Semaphore + gather + google-genai + boto3.

No ledger, no retries, no spool, no checks, no contact sheet: what one writes in an afternoon.
`python -m bench.plain IMAGES CONCURRENT` prints its figures as JSON.
"""

import asyncio
import hashlib
import json
import os
import resource
import sys
import time

import boto3
from botocore.config import Config
from google import genai
from google.genai import types


async def generate_batch(prompts: list[str], max_concurrent: int) -> list[dict]:
    client = genai.Client(api_key="k", http_options={"base_url": os.environ["BENCH_GEMINI"]})
    s3 = boto3.client("s3", endpoint_url=os.environ["BENCH_S3"], region_name="us-east-1",
                      config=Config(max_pool_connections=64, s3={"addressing_style": "path"}))  # fmt: skip
    config = types.GenerateContentConfig(response_modalities=["IMAGE"])
    semaphore = asyncio.Semaphore(max_concurrent)

    async def one(prompt: str) -> dict:
        try:
            async with semaphore:
                answer = await client.aio.models.generate_content(
                    model="gemini-nano-banana-2.1", contents=prompt, config=config
                )
                data = answer.parts[0].inline_data.data
                key = f"{hashlib.sha256(data).hexdigest()}.png"
                await asyncio.to_thread(
                    s3.put_object, Bucket=os.environ["BENCH_BUCKET"], Key=f"plain/{key}",
                    Body=data, ContentType="image/png",
                )  # fmt: skip
                return {"prompt": prompt, "success": True, "local_path": key}
        except Exception as error:
            return {"prompt": prompt, "success": False, "error": str(error)}

    return await asyncio.gather(*(one(prompt) for prompt in prompts))


def main() -> None:
    images, concurrent = int(sys.argv[1]), int(sys.argv[2])
    asyncio.run(generate_batch(["warm up"], 1))
    tag = time.time_ns()
    started = time.monotonic()
    results = asyncio.run(generate_batch([f"picture {tag} {n}" for n in range(images)], concurrent))
    wall = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"wall_s": wall, "made": sum(r["success"] for r in results),
                      "rss_mb": used.ru_maxrss / 1e3, "cpu_s": used.ru_utime + used.ru_stime}))  # fmt: skip


if __name__ == "__main__":
    main()
