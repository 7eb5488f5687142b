"""For the tests of people who write specs, and of those who write gangraph. Needs the extra `verify`.

>>> from gangraph.testing import assert_matches_reference
>>> assert_matches_reference("gan", tiny=True, cases=1)

`assert_matches_reference` is `gangraph.verify` as an assertion. The others are Hypothesis strategies: `cases` of a
comparison, `batches`, `draws` and `weights` of a compiled system as dicts of float64 tensors, and `specs`, the texts of
whole games with several players, shared networks, penalties and schedules. Of all of them the simplest come first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gangraph.testing.specs import specs
from gangraph.verify import verify
from gangraph.verify.explore import case_strategy

if TYPE_CHECKING:
    from gangraph.compiler import Spec
    from gangraph.loader import Compiled
    from gangraph.verify.cases import Case

__all__ = ["assert_matches_reference", "batches", "cases", "draws", "specs", "weights"]

Tensors = dict[str, Any]


def assert_matches_reference(spec: Spec | Compiled | str | Path, cases: int = 6, **options: Any) -> None:
    """The compiled program means what the spec says; an AssertionError has the report. Options are `verify`'s."""
    report = verify(spec, cases=cases, **options)
    assert report.good, f"\n{report}"


def cases(spec: Spec) -> SearchStrategy[Case]:
    """What a comparison starts from: batch size, stage, time, kinds of weights and data, other sizes and constants."""
    from gangraph.verify.bench import Bench

    bench = Bench(spec)
    return st.integers(0, len(spec.resolved) - 1).flatmap(lambda stage: case_strategy(bench, stage, varied=True))


def batches(gan: Compiled, batch_size: int) -> SearchStrategy[Tensors]:
    """Batches of a compiled system: usual numbers of each input's type, equal samples, ends of the range, zeros."""
    from gangraph.verify.bench import tensors
    from gangraph.verify.cases import DATA, Case, batch

    def made(data: str, seed: int) -> Tensors:
        found: Tensors = tensors(batch(gan.inputs, Case(batch_size, data=data, seed=seed), 0))
        return found

    return st.builds(made, st.sampled_from(DATA), st.integers(0, 2**16))


def draws(gan: Compiled, batch_size: int) -> SearchStrategy[Tensors]:
    """Every draw of the next iteration, by its names (see `Compiled.draw`)."""
    from gangraph.verify.bench import array, tensors
    from gangraph.verify.cases import DATA, Case, noise

    def made(data: str, seed: int) -> Tensors:
        drawn = {name: array(value) for name, value in gan.draw(batch_size, seed).items()}
        found: Tensors = tensors(noise(drawn, Case(batch_size, data=data, seed=seed)))
        return found

    return st.builds(made, st.sampled_from(DATA), st.integers(0, 2**16))


def weights(gan: Compiled) -> SearchStrategy[Tensors]:
    """A value for each parameter by its name in the spec: of size 1, large, sparse, zero."""
    import numpy as np

    from gangraph.verify.bench import tensors
    from gangraph.verify.cases import WEIGHTS
    from gangraph.verify.cases import weights as values

    def made(kind: str, seed: int) -> Tensors:
        generator = np.random.default_rng(seed)
        shapes = {name: tuple(p.shape) for name, p in gan.named_parameters().items()}
        found: Tensors = tensors({n: values(n, shape, kind, generator) for n, shape in shapes.items()})
        return found

    return st.builds(made, st.sampled_from(WEIGHTS), st.integers(0, 2**16))
