"""Writing files whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gangraph.errors import RunError


def write(path: Path, data: bytes | str) -> None:
    """Writes a file by way of another one beside it, in folders that need not be there.

    Raises `RunError`, when the disk is full or the folder cannot be written; what was there before is intact then.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder, and a file is written")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        _put(beside, data)
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise


def write_all(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Writes files into a folder, which need not be there: all of them, or none. Raises `RunError` as `write` does."""
    there, beside = folder.exists(), folder / f".{os.getpid()}.part"
    try:
        beside.mkdir(parents=True)
        for name, data in files.items():
            if (folder / name).is_dir():
                raise RunError(f"{folder / name} is a folder, and a file is written")
            _put(beside / name, data)
        for name in files:
            (beside / name).replace(folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if not there:
            with suppress(OSError):  # it stays where it is not empty
                folder.rmdir()


def _put(path: Path, data: bytes | str) -> None:
    """Writes a file, down to the disk."""
    with path.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The rename itself, on the disk."""
    with suppress(OSError):  # not every file system has it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
