"""Who verifies the verifier: every fault that a rule puts into a program of the gallery is found, or changes nothing.

`python tests/test_mutants.py` prints the table of docs/verification.md.
"""

from __future__ import annotations

import sys
from collections import Counter

import pytest
import torch
from mutants import Mutant, mutants

from gangraph.compiler import load
from gangraph.errors import RunError
from gangraph.verify.bench import Bench, Subject
from gangraph.verify.cases import Case
from gangraph.verify.properties import compare

# Mutants that change no number, by how their keys begin, with the reason.
EQUIVALENT = {
    "evaluate_D: missing or added stop: fake = self.G(z)": "it stands under no_grad: D's phase trains no generator",
    "evaluate_D: missing or added stop: z = self.made_z(draws)": "a draw carries no gradient",
    "evaluate_G: missing or added stop: z = self.made_z(draws)": "a draw carries no gradient",
    "evaluate_discriminators: missing or added stop: fake_": "the discriminators' phase trains no translator",
    "evaluate_D: flipped sign: adv_discriminator = 0.5 * (adv_real - self.b)": "of lsgan's a, which is 0",
    "evaluate_dis: missing or added stop: fake_": "the critics' phase trains no generator",
    "evaluate_all: mean over the wrong axis: rec = ": "a sum over all, in another order",
    "forward: changed weight: return x + self.std * draws": "the deviation is 1",
    "__init__: layer changed: nn.Conv2d(64, 128, 3, stride=2, padding=1)": "of one pixel, which a stride does not move",
}
# Found in no case so far: thresholds that only scores between 0.33 and 1.03 of the right order would show.
MISSED = (
    "evaluate_all: flipped sign: or (c_r < self.e - self.m or c_f",
    "evaluate_all: flipped sign: or (c_r > self.e + self.m or c_f",
)
QUICK = {"gan": 1, "gan-minimax": 1, "dcgan": 2, "lsgan": 4, "wgan": 3, "cyclegan": 6}  # of how many one is tried

DEEP = (*QUICK, "wgan-gp", "vae-gan", "unit")


def caught(bench: Bench, mutant: Mutant) -> bool:
    """Whether a property differs in one of a few cases; a program that does not load or run is caught."""
    usual = bench.batch_sizes[1]
    try:
        subject = Subject(bench, mutant.source)
    except RunError:
        return True
    made = [Case(usual), Case(usual, weights="large", seed=1, pools="full" if bench.own.game.pools else "empty")]
    made += [Case(usual, seed=2 + m, moment=m) for m in range(1, min(len(bench.moments), 7))]
    return any(compare(n, subject, case).differences for case in made for n in (3, 2))


def survivors(system: str, every: int = 1) -> tuple[Counter[str], list[Mutant]]:
    torch.set_num_threads(1)
    spec = load(system, tiny=True)
    bench, tried = Bench(spec), Counter()
    alive = []
    for mutant in list(mutants(spec.program.source, spec.program.title))[::every]:
        tried[mutant.rule] += 1
        if not caught(bench, mutant):
            alive.append(mutant)
    return tried, alive


@pytest.mark.parametrize("system", QUICK)
def test_a_mutant_is_found(system: str) -> None:
    tried, alive = survivors(system, QUICK[system])
    assert tried
    missed = [f"{m.line}: {m.key}" for m in alive if not m.key.startswith(tuple(EQUIVALENT))]
    assert not missed, "\n".join(missed)


@pytest.mark.deep
@pytest.mark.parametrize("system", DEEP)
def test_every_mutant_is_found(system: str) -> None:
    tried, alive = survivors(system)
    assert tried and not [m.key for m in alive if not m.key.startswith((*EQUIVALENT, *MISSED))]


def main() -> None:
    for system in sys.argv[1:] or QUICK:
        tried, alive = survivors(system)
        same = [m for m in alive if m.key.startswith(tuple(EQUIVALENT))]
        print(f"| {system} | {tried.total()} | {tried.total() - len(alive)} | {len(same)} | {len(alive) - len(same)} |")
        for mutant in alive:
            print(f"    {mutant.line}: {mutant.key}", file=sys.stderr)


if __name__ == "__main__":
    main()
