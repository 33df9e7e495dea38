"""Paid bytes are safe before anything else happens: temp file, fsync, rename.

`spool/` holds answers whose charge is not written yet, by key and reservation; `images/` holds what
is paid, by digest, so that one picture lies there once however many runs show it.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.errors import ArtifactError
from imagemill.ledger.values import Payment
from imagemill.preview import make_preview


class Spooled(BaseModel):
    """A received answer on disk, and what it cost."""

    model_config = ConfigDict(frozen=True)

    payment: Payment
    path: Path


def write_durably(path: Path, data: bytes, *, sync_folder: bool = True) -> None:
    """Write a file so that it is whole or absent, even after a power cut.

    Args:
        path: Where; its folder is made.
        data: What.
        sync_folder: Leave False when another file of the same folder is written right after.

    Raises:
        ArtifactError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise ArtifactError(
            f"{path.parent} cannot be written ({error.strerror}).",
            remedy="Free disk space, or set IMAGEMILL_HOME or the output folder to one you can write.",
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, too: it is an entry in the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Spool:
    """Where answers lie between the provider and the store.

    Args:
        home: imagemill's folder; `spool/` and `images/` are made below it.
    """

    def __init__(self, home: Path) -> None:
        self._spool = home / "spool"
        self._images = home / "images"
        self._previews = home / "previews"

    def check(self) -> None:
        """Prove that answers could be kept, before the first one is paid.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        for folder in (self._spool, self._images):
            probe = folder / ".probe"
            write_durably(probe, b"ok")
            probe.unlink(missing_ok=True)

    def keep(self, key: str, reservation_id: int, data: bytes, payment: Payment) -> Spooled:
        """Put an answer on disk, with the note that a later process can charge it by."""
        path = self._path(key, reservation_id)
        note = payment.model_dump(mode="json")
        write_durably(path.with_suffix(".json"), json.dumps(note).encode(), sync_folder=False)
        write_durably(path, data)
        return Spooled(payment=payment, path=path)

    def find(self, key: str, reservation_id: int) -> Spooled | None:
        """Return the answer a dead process left for this reservation, if it is whole."""
        path = self._path(key, reservation_id)
        try:
            note: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
            payment = Payment.model_validate(note)
            whole = digest_of(path.read_bytes()) == payment.artifact.digest
        except (OSError, ValueError):
            return None
        return Spooled(payment=payment, path=path) if whole else None

    def shelve(self, spooled: Spooled) -> Path:
        """The charge is written: move the picture to its place by digest.

        A twin run of this machine may do the same at the same moment; one of them does it.

        Raises:
            ArtifactError: the picture is in neither place.
        """
        target = self.image_path(spooled.payment.artifact)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            spooled.path.replace(target)
        except OSError as error:
            if not target.is_file():
                raise ArtifactError(
                    f"The picture {target.name[:12]} cannot be put on the shelf "
                    f"({error.strerror}).",
                    remedy="Free disk space, then run again: it is paid and not paid again.",
                ) from None
        spooled.path.with_suffix(".json").unlink(missing_ok=True)
        return target

    def image_path(self, artifact: ArtifactRef) -> Path:
        """Return where a paid picture lies on this machine, whether or not it is there."""
        return self._images / artifact.key

    def preview(self, artifact: ArtifactRef, path: Path) -> Path | None:
        """Return a small copy of a picture, making it if it is not there."""
        name = f"{artifact.digest[:2]}/{artifact.digest}.webp"
        return make_preview(path, self._previews / name)

    def adopt(self, artifact: ArtifactRef, data: bytes) -> Path:
        """Keep bytes that came back from the store (this machine had none)."""
        path = self.image_path(artifact)
        write_durably(path, data)
        return path

    def _path(self, key: str, reservation_id: int) -> Path:
        return self._spool / key[:2] / f"{key}-{reservation_id}.bin"


@contextmanager
def _gone_after(temporary: Path) -> Iterator[None]:
    try:
        yield
    finally:
        temporary.unlink(missing_ok=True)


def hand_out(source: Path, folder: Path, name: str) -> Path:
    """Give the asker a copy under a readable name; editing it leaves the kept picture alone.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{name}.{secrets.token_hex(4)}")
        with _gone_after(temporary):
            shutil.copyfile(source, temporary)
            temporary.replace(target)
    except OSError as error:
        raise ArtifactError(
            f"The output folder {folder} cannot be written ({error.strerror}).",
            remedy="Choose another --out / output_dir.",
        ) from None
    return target


def check_output_folder(folder: Path) -> None:
    """Make the asker's folder and prove that it can be written, before anything is paid."""
    probe = folder / f".imagemill-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ArtifactError(
            f"The output folder {folder} cannot be written ({error.strerror}).",
            remedy="Choose another --out / output_dir.",
        ) from None
