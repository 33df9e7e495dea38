"""What all rows share: a Prefect server, a SeaweedFS, perhaps a PostgreSQL; started and stopped here."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import httpx

from apps.services.ensure import ensure_services
from apps.services.lifecycle import down
from apps.services.processes import stop
from apps.services.records import load_records
from blocks.settings import Settings, local_secrets
from chaos.evidence import sha256
from chaos.postgres import Cluster

WANTED = ("prefect", "object_store")
PLACES = 100_000
"""The shared limit at the provider. A killed run's places come back only when its lease runs out
(Prefect's own time, up to a minute); with the limit of 100 many kills would wait for each other."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C: what runs is ended, rows that are done are shown."""


class Site:
    """Services of the harness's own, in a folder that goes with them. Use as a context manager."""

    def __init__(self, folder: Path, *, say, postgres: bool) -> None:
        self.folder = folder
        self.stopping = Event()
        self._say = say
        self._settings = Settings(home=folder / "home", database_url="", s3_prefix="")
        self.cluster = Cluster(folder / "postgres") if postgres else None
        self._open = ExitStack()

    def __enter__(self) -> "Site":
        try:
            self._open.callback(self._down)
            self.services = self._up()
            secrets = local_secrets(self._settings.home)
            self.s3_key = (secrets["s3_access_key_id"], secrets["s3_secret_access_key"])
            self.webhook_secret = secrets["webhook_secret"]
            self._widen_limit()
            if self.cluster:
                self._open.enter_context(self.cluster)
        except BaseException:
            self._open.close()
            raise
        # The process that all batches are forked from must start with these: Prefect reads them
        # when it is imported.
        os.environ.update(self.services.environment())
        os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def environment(self) -> dict[str, str]:
        """What each batch's process needs to find the services; a row adds its own."""
        key, secret = self.s3_key
        return {
            **self.services.environment(),
            "IMAGEMILL_S3_BUCKET": self.services.bucket,
            "IMAGEMILL_S3_ACCESS_KEY_ID": key,
            "IMAGEMILL_S3_SECRET_ACCESS_KEY": secret,
            "IMAGEMILL_WEBHOOK_SECRET": self.webhook_secret,
            "GOOGLE_API_KEY": "AIza-only-for-chaos",
        }

    def restart_prefect(self, *, away_s: float) -> None:
        """Stop the server, and start it again at the same address after a while."""
        stop(load_records(self._settings.home)["prefect"].identity)
        time.sleep(away_s)
        self._up()

    def pictures(self, prefix: str) -> dict[str, str]:
        """Read every image object below a prefix, past any proxy: name -> sha256 of its bytes."""
        import boto3

        key, secret = self.s3_key
        client = boto3.client(
            "s3", endpoint_url=self.services.object_store_url, region_name="us-east-1",
            aws_access_key_id=key, aws_secret_access_key=secret,
        )  # fmt: skip
        bucket = self.services.bucket
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        images = [n for n in names if "/runs/" not in n and n.endswith((".png", ".jpg", ".webp"))]
        return {
            name: sha256(client.get_object(Bucket=bucket, Key=name)["Body"].read())
            for name in images
        }

    def _up(self):
        return ensure_services(self._settings, say=self._say, want=WANTED)

    def _down(self) -> None:
        down(self._settings, say=lambda _line: None)

    def _widen_limit(self) -> None:
        address = f"{self.services.prefect_url}/v2/concurrency_limits/imagemill-gemini"
        httpx.patch(address, json={"limit": PLACES}, timeout=30).raise_for_status()
