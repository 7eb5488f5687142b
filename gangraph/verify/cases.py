"""What a comparison starts from: a case, and the weights, layer state, batches that follow from it.

A case is a few words; everything else is made from its seed. So the smallest case in which something differs is one
that a person can read, and make again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gangraph.frozen import frozen

if TYPE_CHECKING:
    from gangraph.loader import InputType

WEIGHTS = ("usual", "large", "small", "sparse", "zero")  # the simplest first, as everywhere here
DATA = ("usual", "ties", "ends", "zero")
POOLS = ("empty", "full", "nearly full")  # of the last, one sample is missing
MOMENTS = (  # where an iteration begins: in the usual first ones, and where conditions and decays turn
    {"step": 0, "epoch": 0, "epoch_step": 0},
    {"step": 3, "epoch": 1, "epoch_step": 1},
    {"step": 8, "epoch": 120, "epoch_step": 4},
    {"step": 1000, "epoch": 50, "epoch_step": 2, "epoch_steps": 3},  # the last one of its epoch
)
Arrays = dict[str, Any]


@frozen
class Case:
    """`turns` is how many iterations follow each other; `changed` are sizes or constants that are other ones here.

    `way` is how far the weights have gone towards those of the seed `other`. `left` is how many iterations are left of
    the stage, where that is chosen.
    """

    batch_size: int
    stage: int = 0
    weights: str = "usual"
    data: str = "usual"
    moment: int = 0
    pools: str = "empty"
    turns: int = 2
    seed: int = 0
    other: int = 0
    way: float = 0.0
    changed: tuple[tuple[str, str], ...] = ()
    left: int | None = None

    def __str__(self) -> str:
        said = [f"seed {self.seed}", f"batch of {self.batch_size}", f"{self.weights} weights"]
        said += [f"{self.way:g} of the way to those of seed {self.other}"] if self.way else []
        said += [f"data: {self.data}"] if self.data != "usual" else []
        said += [f"{self.pools} pools"] if self.pools != "empty" else []
        said += [f"stage {self.stage}"] if self.stage else []
        said += [f"{self.left} iterations before its end"] if self.left is not None else []
        said += [f"{self.turns} iterations"] if self.turns != 2 else []
        return ", ".join([*said, *(f"{name} = {value}" for name, value in self.changed)])


def weights(name: str, shape: tuple[int, ...], kind: str, generator: np.random.Generator, factor: float = 1.0) -> Any:
    """Weights that let numbers of size 1 through; large ones; small ones; many zeros and equal entries; only zeros.

    Where they are small, scores are near 0 and near each other, as conditions may want them. `factor` is what the layer
    multiplies them by before it uses them.
    """
    if len(shape) < 2:
        values = 0.3 * generator.standard_normal(shape)
        values = values + 1.0 if name.endswith("weight") else values
    else:
        values = generator.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    if kind == "large":
        values = 3 * values
    if kind == "small":
        values = 0.1 * values
    if kind == "sparse":
        values = np.where(generator.uniform(size=shape) < 0.3, 0.0, np.round(8 * values) / 8)
    if kind == "zero":
        values = np.zeros(shape)
    return _single(values / factor)


def between(a: Any, b: Any, way: float) -> Any:
    """The weights at some part of the way from a to b."""
    return _single((1 - way) * a + way * b)


def layer_state(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    """Running variances are above 0; everything else is a number of size 1."""
    if "running_var" in name:
        return _single(generator.uniform(0.5, 2.0, shape))
    return _single(generator.standard_normal(shape))


def batch(inputs: dict[str, InputType], case: Case, number: int) -> Arrays:
    """The input's type says what may be in it; `ties` has equal samples, `ends` the ends of the range."""
    generator = np.random.default_rng((case.seed, number))
    made: Arrays = {}
    for name, t in inputs.items():
        shape = (t.samples(case.batch_size), *t.shape)
        if t.classes:
            made[name] = generator.integers(t.classes, size=shape)
            continue
        low, high = t.range or (-1.0, 1.0)
        values = generator.uniform(low, high, shape)
        if t.kind == "mask":
            values = (values > 0.5).astype(float)
        elif case.data == "ends":
            values = np.where(values > (low + high) / 2, high, low)
        elif case.data == "zero":
            values = np.zeros(shape)
        if case.data == "ties":
            values[1:] = values[:1]
        made[name] = _single(values)
    return made


def noise(draws: Arrays, case: Case) -> Arrays:
    """Draws around zero, as the data are: equal ones, zeros. Integers, coins and other ranges stay as they fell."""
    made = {}
    for name, values in draws.items():
        plain = values.dtype.kind == "f" and np.min(values, initial=0.0) < 0 < np.max(values, initial=0.0)
        if plain and case.data == "zero":
            values = np.zeros_like(values)
        elif plain and case.data == "ties" and values.ndim:
            values = np.broadcast_to(values[:1], values.shape).copy()
        made[name] = _single(values) if values.dtype.kind == "f" else values
    return made


def shaken(arrays: Arrays, seed: int) -> Arrays:
    """Numbers with an error of double precision; coins and integers as they are."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, values in arrays.items():
        plain = values.dtype.kind == "f" and not np.isin(values, (0.0, 1.0)).all()
        found[name] = values * (1 + 2e-16 * generator.standard_normal(values.shape)) if plain else values
    return found


def _single(values: Any) -> Any:
    """Numbers that float32 has too, so that both precisions begin with the same ones."""
    return np.asarray(values).astype(np.float32).astype(float)
