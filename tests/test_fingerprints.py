"""Outputs of networks for weights and inputs that anybody can make again: counts see nothing, outputs do.

`fingerprints.json` was made with official code and independent prototypes (its recipe: `support.fill`);
`own_fingerprints.json` holds every network of the gallery as the compiler of this repository builds it, so that no
later change moves one unseen. `python tests/test_fingerprints.py --write` makes it again.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import DATA, SYSTEMS, build, fill, one_network, recipe_input, summary, written
from torch import Tensor

SHARED: dict[str, dict[str, Any]] = json.loads((DATA / "fingerprints.json").read_text())
OWN = DATA / "own_fingerprints.json"


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [v for item in value for v in flat(item)]


def close(found: list[list[float]], expected: list[list[float]], relative: float, absolute: float) -> bool:
    a, b = torch.tensor(found), torch.tensor(expected)
    return a.shape == b.shape and torch.allclose(a, b, rtol=relative, atol=absolute)


@pytest.mark.parametrize("name", SHARED)
def test_a_network_of_the_library_has_the_fingerprint_of_the_prototypes(name: str, tmp_path: Path) -> None:
    entry = SHARED[name]
    network = entry["network"] if "'" in entry["network"] else f"'{entry['network']}'"
    network = f'"{network}"' if "'" in entry["network"] else network
    gan = build(written(tmp_path, one_network(network, entry["call"], entry["inputs"], len(entry["evaluation"]))))
    Q = gan.networks["Q"]
    assert sum(p.numel() for p in Q.parameters()) == entry["parameters"]
    fill(Q)
    inputs = [recipe_input(i, (2, *t.shape), t.classes) for i, t in enumerate(gan.inputs.values())]
    random = [gan.module.Draws(gan.game.like, 0).call("Q", "out")] if "training" not in entry else []
    for mode in ("evaluation", "training"):
        if mode in entry:
            Q.train(mode == "training")
            with torch.no_grad():
                found = [summary(v) for v in flat(Q(*inputs, *random))]
            assert close(found, entry[mode], 2e-3, 2e-4), mode


# --- every network of the gallery at its tiny size


def arguments(module: Any, n: int) -> list[Any]:
    """Inputs of a network by the recipe; `w[0], w[1]` are one list."""
    found: dict[str, Any] = {}
    for i, node in enumerate(module.inputs):
        t = node.type
        if t.host:
            value: Any = 0.25
        else:
            value = recipe_input(i, (n, *t.shape) if t.samples is not None else t.shape, t.classes)
        family, bracket, _ = (node.name or "").partition("[")
        if bracket:
            found.setdefault(family, []).append(value)
        else:
            found[family] = value
    return list(found.values())


def method_of(gan: Any, name: str) -> Any:
    """How a network is called: a composed one in the way of the last stage."""
    network = gan.networks[name]
    composed = f"forward_{len(gan.spec.graphs)}"
    return getattr(network, composed if hasattr(network, composed) else "forward")


def own(system: str) -> dict[str, dict[str, list[list[float]]]]:
    """Fingerprints of every network of a system, as its last stage calls it."""
    gan = build(system, tiny=True)
    gan.clocks["stage"] = len(gan.spec.graphs) - 1
    found: dict[str, dict[str, list[list[float]]]] = {}
    for name, network in gan.graph.networks.items():
        fill(gan.networks[name])
        *_, module = network.variants.values()
        made = {}
        random = any(
            m.random for inner in gan.graph.contained(name) for m in gan.graph.networks[inner].variants.values()
        )
        for mode in ("evaluation",) if random else ("evaluation", "training"):
            gan.networks[name].train(mode == "training")
            method = method_of(gan, name)
            given = arguments(module, 4)
            for parameter in list(inspect.signature(method).parameters)[len(given) :]:
                if parameter == "draws":
                    given.append(gan.module.Draws(gan.game.like, 0).call(name, "out"))
                else:
                    given.append(0.25)  # a constant that follows the clocks
            with torch.no_grad():
                made[mode] = [summary(v) for v in flat(method(*given))]
        found[name] = made
    return found


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_networks_of_the_gallery_keep_their_fingerprints(system: str) -> None:
    kept, found = json.loads(OWN.read_text())[system], own(system)
    assert list(found) == list(kept)
    for name, modes in kept.items():
        for mode, numbers in modes.items():
            assert close(found[name][mode], numbers, 1e-5, 1e-7), f"{name}, {mode}"


def main() -> None:
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_fingerprints.py --write")
    rows = []
    for system in SYSTEMS:
        networks = []
        for name, modes in own(system).items():
            rounded = {m: [[float(f"{x:.8g}") for x in v] for v in values] for m, values in modes.items()}
            networks.append(f"  {json.dumps(name)}: {json.dumps(rounded)}")
        rows.append(f"{json.dumps(system)}: {{\n" + ",\n".join(networks) + "\n}")
    OWN.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
