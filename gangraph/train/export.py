"""A run -> a folder that needs no gangraph: the emitted program, and the weights of each network and each average."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from gangraph.files import write_all
from gangraph.train.loop import load_run
from gangraph.train.run import PROGRAM


def export_run(run: str | Path, out: str | Path | None = None) -> Path:
    """Write `program.py`, and a `NAME.safetensors` for each network and average, as the last checkpoint has them.

    Their tensors are called as in `state_dict()` of that network, so it loads them itself, and `train(weights=...)`
    does. All files are written, or none. Raises `RunError`.
    """
    gan, _ = load_run(run)
    folder = Path(out) if out is not None else Path(run) / "export"
    networks = {**gan.networks, **gan.averages}
    weights = {f"{name}.safetensors": save(_alone(network.state_dict())) for name, network in networks.items()}
    write_all(folder, {PROGRAM: gan.source, **weights})
    return folder


def _alone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own: safetensors takes no weights that two layers share."""
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
