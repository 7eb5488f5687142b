"""The iteration of four gallery systems, written by hand in plain PyTorch the way people write it.

Each file has one class `Handwritten(sizes)` with

- `networks`: the networks by the spec's names, parameters in the spec's order;
- `averages`: moving averages by the spec's names, copies of the networks until the first step;
- `step(batch, draws)`: one iteration; the arguments are those of `gan.step`; returns the objective of every evaluation.

The habits are the official codes': one `zero_grad` and `backward` a loss, `detach` on what a discriminator sees, and
`no_grad` or `requires_grad_(False)` only where the official code of that very system has it. Values that no official
loop would keep are not kept.
"""

from torch import Tensor


def find(draws: dict[str, Tensor], evaluation: str, name: str) -> Tensor:
    """A draw by its longest key: first the evaluation's own, then its phase's, then the bare name."""
    phase = evaluation.partition(".")[0]
    for key in (f"{evaluation}/{name}", f"{phase}/{name}", name):
        if key in draws:
            return draws[key]
    raise KeyError(f"no draw {name} for {evaluation}; there are {', '.join(draws)}")
