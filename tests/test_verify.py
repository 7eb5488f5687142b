"""Verification itself: what it looks at, how it reports, and that it finds what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import written

import gangraph
from gangraph.compiler import load
from gangraph.emit import emit
from gangraph.errors import RunError
from gangraph.schedule import plan_schedule
from gangraph.verify import verify
from gangraph.verify.rounding import SIZE, Noisy


def test_verify_shrinks_a_difference_to_the_smallest_case(tmp_path: Path) -> None:
    """A fault that shows in batches of more than one sample is reported for the smallest of them."""
    spec = load("gan", tiny=True)
    source = spec.program.source.replace(".mean() + ", ".sum() + ", 1)
    report = gangraph.verify(spec, cases=8, program=written(tmp_path, source, "edited.py"))
    first = report.rows[1].differences[0]
    assert first.case.startswith("seed 0, batch of ") and "usual weights" in first.case
    assert "batch of 1," not in first.case


def test_verify_refuses_a_program_that_cannot_be_loaded(tmp_path: Path) -> None:
    for text, message in (
        ("x = (", "does not load: SyntaxError"),
        ("exit()", "does not load: SystemExit"),
        ("", "no class Gan"),
    ):
        with pytest.raises(RunError, match=message):
            verify(load("gan", tiny=True), program=written(tmp_path, text, "edited.py"))


def test_an_unplanned_program_saves_nothing() -> None:
    spec = load("dcgan", tiny=True)
    plain = emit(tuple(plan_schedule(r, planned=False) for r in spec.routings)).source
    ours, others = (text[text.index("def evaluate_D") :] for text in (spec.program.source, plain))
    assert "no_grad" in ours and "no_grad" not in others and "yield" not in others


def test_noise_of_float32_is_of_its_size_and_reaches_backward() -> None:
    x = torch.linspace(1, 2, 7, dtype=torch.float64, requires_grad=True)
    exact = torch.autograd.grad((x**3).sum(), x)[0]
    with Noisy(0):
        shaken = torch.autograd.grad((x**3).sum(), x)[0]
    off = ((shaken - exact) / exact).abs()
    assert 0 < off.max() < 10 * SIZE
