"""Nested state <-> one file: tensors as safetensors, the rest as JSON in its header; no pickle.

A file is written beside its place, flushed to the disk and renamed, so whatever kills the run leaves the old one whole.
A checksum over the tensors and the header tells a damaged file. `Checkpoints` keeps the last two of a run.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from gangraph.errors import RunError
from gangraph.files import write

FORMAT = 1
KEPT = 2
State = dict[str, Any]  # dicts and lists of tensors, numbers, strings and None


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested `state` as one file."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_flatten(state, "", tensors))
    body = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": str(FORMAT), "state": tree, "checksum": str(_checksum(body, tree))}
    write(path, save_tensors(body, header))


def load(path: Path) -> State:
    """Read what `save` wrote, tensors on the CPU. Raises `RunError` when the file is missing, broken or foreign."""
    try:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        tensors = load_tensors(data)
        if header["format"] != str(FORMAT):
            raise RunError(f"{path} has format {header['format']}, and this gangraph reads {FORMAT}")
        if int(header["checksum"]) != _checksum(tensors, header["state"]):
            raise ValueError("checksum")
        state = _unflatten(json.loads(header["state"]), tensors)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, RecursionError, MemoryError):
        raise RunError(f"{path} is damaged or no checkpoint of gangraph") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is damaged or no checkpoint of gangraph")
    return state


def _checksum(tensors: Mapping[str, Tensor], tree: str) -> int:
    value = zlib.crc32(tree.encode())
    for name in sorted(tensors):
        content = tensors[name].flatten().view(torch.uint8).numpy().data
        value = zlib.crc32(content, zlib.crc32(name.encode(), value))
    return value


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; each tensor goes to `tensors` under its path."""
    if isinstance(value, Tensor):
        name = path if path not in tensors else f"{path}#{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[k, _flatten(v, f"{path}/{k}" if path else str(k), tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_flatten(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__} ({path})")


def _unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, inner),) = tree.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {k: _unflatten(v, tensors) for k, v in inner}
    items = [_unflatten(v, tensors) for v in inner]
    return tuple(items) if kind == "tuple" else items


class Checkpoints:
    """The last two states of a run, in `RUN/checkpoints`, named by their step."""

    def __init__(self, folder: Path, say: Callable[[str], None] = print):
        self.folder = folder
        self.say = say

    def __str__(self) -> str:
        return str(self.folder)

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("[0-9]*.safetensors"), key=lambda p: (len(p.name), p.name))

    def path(self, step: int) -> Path:
        return self.folder / f"{step:06d}.safetensors"

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        path = self.path(step)
        save(path, state)
        paths = self.paths()
        here = paths.index(path)
        stale = (
            paths[: max(0, here + 1 - KEPT)] + paths[here + 1 :]
        )  # later ones are damaged: the run went back past them
        for old in [*stale, *self.folder.glob(".*.part")]:  # parts: of a run that was killed
            with suppress(OSError):
                old.unlink()
        return path

    def latest(self) -> State | None:
        """The newest state that can be read, with a message for each newer one that cannot; None when there is none."""
        paths = self.paths()
        for path in reversed(paths):
            try:
                return load(path)
            except RunError as error:
                if path == paths[0]:
                    raise
                self.say(f"{error}; going back to the one before")
        return None


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name."""
    try:
        return load_tensors(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError):
        raise RunError(f"{path} is no safetensors file, or damaged") from None
