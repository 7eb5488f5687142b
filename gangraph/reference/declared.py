"""Layers that a spec declares have no definition here: they are torch's, and what torch says is taken for true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from autograd.extend import defvjp, primitive

from gangraph.reference.layers import Layer, Site
from gangraph.reference.values import Value


class Declared(Layer):
    def __init__(self, torch_name: str, arguments: dict[str, Any]):
        import torch

        self.module = getattr(torch.nn, torch_name.rpartition(".")[2])(**arguments).double()
        self.names = [name for name, _ in self.module.named_parameters()]

    def __call__(self, x: Value, site: Site) -> Value:
        from torch.func import functional_call

        def function(x: Any, *parameters: Any) -> Any:
            return functional_call(self.module, dict(zip(self.names, parameters, strict=True)), (x,))

        shapes = [tuple(p.shape) for p in self.module.parameters()]
        held = [site.parameter(name, shape) for name, shape in zip(self.names, shapes, strict=True)]
        return x.but(traced(function, 1 + len(held))(x.data, *held))


def traced(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function of `count` tensors as one of arrays, which can be differentiated to any order."""
    import torch

    def called(*arrays: Any) -> Any:
        return function(*(torch.from_numpy(np.array(a, dtype=np.float64)) for a in arrays)).detach().numpy()

    def pulled(i: int) -> Callable[..., Any]:
        def vjp(ans: Any, *arrays: Any) -> Callable[[Any], Any]:
            back = traced(lambda g, *tensors: torch.func.vjp(function, *tensors)[1](g)[i], count + 1)
            return lambda g: back(g, *arrays)

        return vjp

    made = primitive(called)
    defvjp(made, *map(pulled, range(count)))
    return cast("Callable[..., Any]", made)
