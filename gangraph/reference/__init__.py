"""An independent reference: a resolved spec evaluated in NumPy, by the definitions and the semantics alone.

It shares reading, parsing and resolving with the compiler, and nothing else: no inference, no routing, no plan, no
emitted text, no torch. Everything is slow and obvious on purpose, so that it can be checked by eye against the papers:

    values       what an expression can be: arrays with the sample axis in front, numbers, losses with two sides
    tape         derivatives, by autograd's tables, between two places of one evaluation
    primitives   the derivatives that PyTorch has decided where there is none
    convolution  one loop over the kernel, and its two adjoints
    resampling   padding, resizing, average pooling as matrices
    operators    the operators of the language
    layers       the primitive layers and the wrappers
    expressions  the spec's expression trees
    blocks       templates, chains, networks by name, views
    evaluation   one evaluation: values, draws, losses
    optimizers   the updates
    game         phases, groups, iterations, stages
"""

from __future__ import annotations

from gangraph.reference.game import Reference

__all__ = ["Reference"]
