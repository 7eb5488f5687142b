"""What rounding to float32 may do to a number, measured and not guessed: Monte Carlo arithmetic.

Every operator's result, forward and backward, is multiplied by 1 + s u e, with u = 2^-24 and e uniform in [-1, 1]; s
is 32, because a sum rounds in each of its steps and the noise comes once. How far the results of such runs in float64
lie from those without noise is how far float32 may get: an ill-conditioned program spreads the noise as it spreads
rounding, and a number near a kink falls on either side (Parker, Monte Carlo Arithmetic, 1997).
"""

from __future__ import annotations

from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode

SIZE = 32 * 2.0**-24  # 2^-24 is half a unit in the last place of float32

aten = torch.ops.aten
FUSED = get_decompositions(  # operators that subtract inside: there, too, rounding is noise
    [
        aten.native_batch_norm,
        aten.native_batch_norm_backward,
        aten.native_layer_norm,
        aten.native_layer_norm_backward,
        aten.native_group_norm,
        aten.native_group_norm_backward,
        aten._log_softmax,
        aten.logsumexp,
    ]
)


class Noisy(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, float64 operators round as float32 might."""

    def __init__(self, seed: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._efficientzerotensor.default:  # has no numbers to shake, and other ways than a tensor's
            func = aten.zeros.default
        if func in FUSED:
            with self:
                return FUSED[func](*args, **(kwargs or {}))
        made = func(*args, **(kwargs or {}))
        views = any(r.alias_info is not None for r in func._schema.returns)
        return made if views else torch.utils._pytree.tree_map(self._shaken, made)

    def _shaken(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
            return value
        noise = torch.rand(value.shape, generator=self.generator, dtype=torch.float64)
        return value * (1 + SIZE * (2 * noise - 1))
