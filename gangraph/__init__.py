"""gangraph: a GAN as one validated spec file, compiled to PyTorch that a person would sign.

    read -> parse -> resolve -> infer shapes -> route gradients -> plan schedule -> emit -> load

The stages stand in files of their names, and `gangraph.compiler` is the whole pipeline on one page.

>>> import gangraph
>>> spec = gangraph.load("gan", tiny=True)
>>> print(spec.routings[0])
D: D minimizes adv.discriminator
  D: reaches 6 of 6 parameters
G: G minimizes adv.generator
  G: reaches 6 of 6 parameters
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gangraph.compiler import Spec, compile, load
    from gangraph.errors import GangraphError, Problem, RunError, SpecError

__version__ = "0.1.0"
__all__ = [
    "GangraphError", "Problem", "RunError", "Spec", "SpecError",
    "compile", "diff", "draw", "equations", "load", "train", "verify",
]  # fmt: skip

_HOMES = {
    "gangraph.compiler": ("Spec", "compile", "load"),
    "gangraph.errors": ("GangraphError", "Problem", "RunError", "SpecError"),
}
_VERBS = ("diff", "draw", "equations", "train", "verify")  # modules that may be called: `gangraph.draw(spec)`


def __getattr__(name: str) -> Any:
    """What is loaded when it is asked for."""
    if name in (*_VERBS, "testing"):
        return importlib.import_module(f"gangraph.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'gangraph' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__", "testing"]
