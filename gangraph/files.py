"""Writing files whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gangraph.errors import RunError


def write(path: Path, data: bytes | str, parents: bool = False) -> None:
    """Writes a file by way of another one beside it; with `parents`, in folders that need not be there.

    Raises `RunError`, when the disk is full or the folder cannot be written; what was there before is intact then.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise


def _sync_folder(folder: Path) -> None:
    """The rename itself, on the disk."""
    with suppress(OSError):  # not every file system has it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
