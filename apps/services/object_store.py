"""The embedded object store, unless somebody brought their own."""

from apps.services.launching import Start, clear_leftovers
from apps.services.ports import OPTION, remember_port, wanted_port
from apps.services.processes import Identity, fresh_log, identify
from apps.services.records import ServiceRecord, save_record
from apps.services.seaweed import SeaweedHandle, start_seaweed
from blocks.settings import local_secrets
from imagemill.errors import ServiceError

BUCKET = "imagemill"


def start_object_store(start: Start) -> ServiceRecord:
    """Start the embedded S3 server with this machine's own key; it has then taken an object.

    Raises:
        ServiceError: The port is taken, or it died or did not come up.
    """
    clear_leftovers(start, "object_store")
    log_path = start.log_path("object_store")
    fresh_log(log_path)
    start.progress("object_store", "starting")
    port = wanted_port("object_store", start.ports, home=start.home, say=start.say)
    try:
        handle = _start(start, port)
    except ServiceError as error:
        # Not only the port itself counts: SeaweedFS needs the one 10000 above too.
        if "is taken" not in error.message:
            raise
        if not start.ports.any_port:
            raise ServiceError(
                error.message, remedy=f"Choose another with {OPTION['object_store']} or --any-port."
            ) from error
        start.say(f"object_store: {error.message} Using another.")
        handle = _start(start, None)
    record = ServiceRecord(
        "object_store",
        handle.url,
        identify(handle.pid) or Identity(handle.pid, 0.0),
        log_path,
        # Without a signature it refuses (403): that is an answer.
        f"{handle.url}/",
        extras={
            "bucket": handle.bucket,
            "access_key_id": local_secrets(start.home)["s3_access_key_id"],
        },
    )
    save_record(start.home, record)
    if record.port is not None:
        remember_port("object_store", record.port, home=start.home)
    return record


def _start(start: Start, port: int | None) -> SeaweedHandle:
    secrets = local_secrets(start.home)
    return start_seaweed(
        start.home / "object_store",
        start.log_path("object_store"),
        access_key_id=secrets["s3_access_key_id"],
        secret_access_key=secrets["s3_secret_access_key"],
        bucket=BUCKET,
        s3_port=port,
    )
