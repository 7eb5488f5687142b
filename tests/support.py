"""What the tests of compiled programs share: building, batches, recipes, snapshots."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gangraph.compiler import compile as compile_spec

SYSTEMS = (
    "gan",
    "gan-minimax",
    "dcgan",
    "wgan-gp",
    "vae-gan",
    "cyclegan",
    "unit",
    "bicyclegan",
    "stylegan",
    "stargan-v2",
    "autoencoder",
    "denoising-ae",
    "contractive-ae",
    "sparse-ae",
    "vae",
    "lsgan",
    "wgan",
    "hinge",
    "f-gan",
    "sn-gan",
    "cgan",
    "ali",
    "pix2pix",
    "discogan",
    "dualgan",
    "cogan",
    "stackgan-1",
    "stackgan-2",
    "biggan",
    "munit",
    "drit",
    "cross-domain-disentanglement",
    "stargan",
    "stargan-rafd",
    "stargan-joint",
    "cd-gan",
    "stargan-v2-masked",
)
DATA = Path(__file__).parent / "data"
LOG2 = math.log(2)
torch.set_num_threads(1)


def build(source: Any, seed: int = 0, **options: Any) -> Any:
    """A compiled spec in float64 whose first weights come from a seed."""
    torch.manual_seed(seed)
    return compile_spec(source, **options).to(torch.float64)


def written(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def tiny(system: str, **options: Any) -> Any:
    return build(system, tiny=True, **options)


def variant(folder: Path, system: str, text: str, **options: Any) -> Any:
    """A few lines over a system of the gallery."""
    head = f"gangraph: 1\nname: variant\nextends: {system}\n"
    return build(written(folder, head + text), tiny=True, **options)


def close(a: Any, b: Any, tolerance: float = 1e-12) -> bool:
    a, b = (v.detach() if isinstance(v, Tensor) else v for v in (a, b))
    return math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=tolerance)


def networks_of(names: Any) -> set[str]:
    return {name.split(".")[0] for name in names}


def batch(gan: Any, n: int, seed: int = 0) -> dict[str, Tensor]:
    """A random batch: labels in their classes, numbers in their range."""
    generator = torch.Generator().manual_seed(1000 + seed)
    made = {}
    for name, t in gan.inputs.items():
        shape = (t.samples(n), *t.shape)
        if t.classes:
            made[name] = torch.randint(t.classes, shape, generator=generator)
        else:
            low, high = t.range or (-1, 1)
            made[name] = torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low
    return made


def batches(gan: Any, n: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """As many batches as the next iteration fetches."""
    return [batch(gan, n, 100 * seed + i) for i in range(gan.fetches())]


def iterate(gan: Any, n: int, seed: int = 0) -> dict[str, Tensor]:
    """One iteration on random batches and draws."""
    return gan.step(batches(gan, n, seed), gan.draw(n, seed))


def snapshot(gan: Any) -> dict[str, Tensor]:
    """A copy of every parameter by its name in the spec."""
    return {name: p.detach().clone() for name, p in gan.named_parameters().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are not the same bit for bit."""
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def buffers(gan: Any) -> dict[str, Tensor]:
    return {name: b.clone() for name, b in gan.networks.named_buffers()}


def owned(gan: Any, phase: str) -> set[str]:
    """Names of the parameters that a phase may move, with those of networks inside."""
    networks = next(p for p in gan.graph.phases() if p.name == phase).networks
    return set(gan.graph.parameters(networks))


def no_gradients(gan: Any) -> bool:
    modules = (*gan.networks.parameters(), *gan.averages.parameters())
    return all(p.grad is None for p in modules)


@contextlib.contextmanager
def watched(gan: Any) -> Iterator[list[tuple[str, set[str]]]]:
    """Every step of an optimizer: the phase, and the parameters that changed in it or since the step before."""
    steps: list[tuple[str, set[str]]] = []
    last = [snapshot(gan)]
    original = gan.game.move

    def move(phase: str, gradients: Any) -> None:
        assert not moved(last[0], snapshot(gan)), f"a parameter changed before {phase} stepped"
        original(phase, gradients)
        now = snapshot(gan)
        steps.append((phase, moved(last[0], now)))
        last[0] = now
        assert no_gradients(gan)

    gan.game.move = move
    try:
        yield steps
    finally:
        del gan.game.move
    assert not moved(last[0], snapshot(gan)), "a parameter changed after the last step"


@torch.no_grad()
def zeroed(gan: Any, *prefixes: str) -> None:
    """Sets the parameters whose names begin so to zero; each prefix must name some."""
    for prefix in prefixes:
        hit = [p for name, p in gan.named_parameters().items() if name.startswith(prefix)]
        assert hit, f"no parameter begins with {prefix}"
        for p in hit:
            p.zero_()


@torch.no_grad()
def last_layer(gan: Any, network: str, bias: float = 0.0) -> None:
    """Weights 0 and a bias of one value in the last layer with a weight: the output is that constant."""
    names = [n for n in gan.named_parameters() if n.startswith(f"{network}.") and n.endswith(".weight")]
    stem = names[-1].removesuffix("weight")
    gan.named_parameters()[names[-1]].zero_()
    if f"{stem}bias" in gan.named_parameters():
        gan.named_parameters()[f"{stem}bias"].fill_(bias)


# --- the recipe of a fingerprint (shared/examples/README.md)


def uniform_hash(start: int, count: int) -> Tensor:
    """`h` of start, start + 1, ...: a 32-bit hash in [0, 1)."""
    x = (torch.arange(count, dtype=torch.int64) + start) % 2**32
    for _ in range(2):
        x = (x ^ (x >> 16)) * 0x45D9F3B % 2**32
    x = x ^ (x >> 16)
    return x.double() / 2**32


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Weights that anybody can make again."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.InstanceNorm1d, nn.LayerNorm)
    norms = {id(m.weight) for m in network.modules() if isinstance(m, kinds) and m.weight is not None}
    for k, p in enumerate(network.parameters()):
        scale = (3 * p.shape[0] / p.numel()) ** 0.5 if p.dim() >= 2 else 0.1
        values = scale * (2 * uniform_hash(1000003 * k, p.numel()) - 1)
        p.copy_(values.reshape(p.shape) + (id(p) in norms))
    for name, b in network.named_buffers():
        if name.rsplit(".", 1)[-1] == "u":
            b.fill_(1)


def recipe_input(i: int, shape: tuple[int, ...], classes: int | None = None) -> Tensor:
    """Input i: numbers in [-1, 1), labels 1, 2, ..."""
    if classes:
        return (torch.arange(shape[0]) + 1) % classes
    count = 1
    for n in shape:
        count *= n
    return (2 * uniform_hash(7919 * (i + 1), count) - 1).reshape(shape)


def summary(value: Tensor) -> list[float]:
    """Entries at 0, n // 3, n // 2, n - 1, then mean and mean absolute value."""
    v = value.detach().double().flatten()
    n = len(v)
    numbers = [v[0], v[n // 3], v[n // 2], v[n - 1], v.mean(), v.abs().mean()]
    return [float(x) for x in numbers]


def one_network(network: str, call: str, inputs: dict[str, str], outputs: int = 1, n: int = 2) -> str:
    """A whole spec around one network `Q`, so that it can be counted, built and run."""
    values = [f"mean(square(({call})[{i}]))" for i in range(outputs)] if outputs > 1 else [f"mean(square({call}))"]
    lines = [
        "gangraph: 1",
        "name: one-network",
        "inputs:",
        *(f"  {name}: {type_}" for name, type_ in inputs.items()),
        "networks:",
        f"  Q: {network}",
        "losses:",
        *(f"  size{i}: expect({value})" for i, value in enumerate(values)),
        "players:",
        "  P:",
        "    networks: [Q]",
        "    optimizer: Adam(lr=1e-3)",
        "schedule:",
        "  P: " + " + ".join(f"size{i}" for i in range(len(values))),
        f"train: {{batch: {n}}}",
    ]
    return "\n".join(lines) + "\n"
