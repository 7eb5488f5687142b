"""The updates of optimizers, one parameter at a time, as PyTorch's documentation defines them.

Each function gets what it keeps of a parameter (a dict, empty at first), the parameter, its gradient and the
arguments, and returns the parameter after the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Kept = dict[str, Any]


def sgd(
    kept: Kept, p: Any, g: Any, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
    nesterov: bool = False,
) -> Any:  # fmt: skip
    g = g + weight_decay * p
    if momentum:
        kept["momentum"] = momentum * kept["momentum"] + (1 - dampening) * g if "momentum" in kept else g
        g = g + momentum * kept["momentum"] if nesterov else kept["momentum"]
    return p - lr * g


def _moments(kept: Kept, g: Any, betas: Any) -> tuple[int, float, float, Any, Any]:
    """The count of steps, both bias corrections, and the moving means of g and its square."""
    b1, b2 = betas
    t = kept["t"] = kept.get("t", 0) + 1
    kept["m"] = b1 * kept.get("m", 0.0) + (1 - b1) * g
    kept["v"] = b2 * kept.get("v", 0.0) + (1 - b2) * g * g
    return t, 1 - b1**t, 1 - b2**t, kept["m"], kept["v"]


def adam(
    kept: Kept, p: Any, g: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, amsgrad: bool = False, form: str = "torch",
) -> Any:  # fmt: skip
    """Kingma and Ba 2015, algorithm 1; form "tf": their text's order, epsilon inside the corrected rate."""
    _, c1, c2, m, v = _moments(kept, g + weight_decay * p, betas)
    if amsgrad:
        v = kept["largest"] = np.maximum(kept.get("largest", 0.0), v)
    if form == "tf":
        return p - lr * np.sqrt(c2) / c1 * m / (np.sqrt(v) + eps)
    return p - lr / c1 * m / (np.sqrt(v) / np.sqrt(c2) + eps)


def adamw(
    kept: Kept, p: Any, g: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 1e-2, amsgrad: bool = False,
) -> Any:  # fmt: skip
    return adam(kept, p * (1 - lr * weight_decay), g, lr, betas, eps, 0, amsgrad)


def rmsprop(
    kept: Kept, p: Any, g: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
    momentum: float = 0, centered: bool = False,
) -> Any:  # fmt: skip
    g = g + weight_decay * p
    kept["v"] = alpha * kept.get("v", 0.0) + (1 - alpha) * g * g
    spread = kept["v"]
    if centered:
        kept["mean"] = alpha * kept.get("mean", 0.0) + (1 - alpha) * g
        spread = spread - kept["mean"] ** 2
    change = g / (np.sqrt(spread) + eps)
    if momentum:
        change = kept["momentum"] = momentum * kept.get("momentum", 0.0) + change
    return p - lr * change


def adagrad(
    kept: Kept, p: Any, g: Any, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
    initial_accumulator_value: float = 0, eps: float = 1e-10,
) -> Any:  # fmt: skip
    g = g + weight_decay * p
    t = kept["t"] = kept.get("t", 0) + 1
    kept["sum"] = kept.get("sum", initial_accumulator_value) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(kept["sum"]) + eps)


def adadelta(
    kept: Kept, p: Any, g: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0
) -> Any:
    g = g + weight_decay * p
    kept["v"] = rho * kept.get("v", 0.0) + (1 - rho) * g * g
    change = np.sqrt(kept.get("changes", 0.0) + eps) / np.sqrt(kept["v"] + eps) * g
    kept["changes"] = rho * kept.get("changes", 0.0) + (1 - rho) * change * change
    return p - lr * change


def adamax(
    kept: Kept, p: Any, g: Any, lr: float = 2e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0
) -> Any:
    b1, b2 = betas
    g = g + weight_decay * p
    t = kept["t"] = kept.get("t", 0) + 1
    kept["m"] = b1 * kept.get("m", 0.0) + (1 - b1) * g
    kept["u"] = np.maximum(b2 * kept.get("u", 0.0), np.abs(g) + eps)
    return p - lr / (1 - b1**t) * kept["m"] / kept["u"]


def nadam(
    kept: Kept, p: Any, g: Any, lr: float = 2e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, momentum_decay: float = 4e-3,
) -> Any:  # fmt: skip
    """Dozat 2016, with the schedule of its momentum, whose product PyTorch keeps in single precision."""
    g = g + weight_decay * p
    t, _, c2, m, v = _moments(kept, g, betas)
    now, coming = (betas[0] * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
    kept["product"] = np.float32(kept.get("product", 1.0)) * np.float32(now)
    product = float(kept["product"])
    below = np.sqrt(v / c2) + eps
    return p - lr * ((1 - now) / (1 - product) * g + coming / (1 - product * coming) * m) / below


def radam(
    kept: Kept, p: Any, g: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0
) -> Any:
    """Liu et al. 2020, algorithm 2."""
    t, c1, c2, m, v = _moments(kept, g + weight_decay * p, betas)
    limit = 2 / (1 - betas[1]) - 1
    length = limit - 2 * t * betas[1] ** t / c2
    if length <= 5:
        return p - lr * m / c1
    r = np.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
    return p - lr * m / c1 * r * np.sqrt(c2) / (np.sqrt(v) + eps)


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "Adagrad": adagrad, "Adadelta": adadelta,
    "Adamax": adamax, "NAdam": nadam, "RAdam": radam,
}  # fmt: skip


def clipped_norm(gradients: dict[str, Any], bound: float) -> dict[str, Any]:
    """All gradients scaled so that their common norm is at most the bound, with PyTorch's 1e-6."""
    norm = np.sqrt(sum(np.sum(g * g) for g in gradients.values()))
    factor = min(bound / (norm + 1e-6), 1.0)
    return {name: g * factor for name, g in gradients.items()}


def clipped_value(gradients: dict[str, Any], bound: float) -> dict[str, Any]:
    return {name: np.clip(g, -bound, bound) for name, g in gradients.items()}
