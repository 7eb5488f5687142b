"""Parameter counts of the fact sheets, exactly, and the shapes of outputs at the sizes of the papers; no torch."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gangraph.compiler import load

SHEETS = YAML(typ="safe").load((Path(__file__).parent / "data" / "sheets.yaml").read_text())
SYSTEMS = (*SHEETS, "gan-minimax")


def count(graph: Any, networks: tuple[str, ...]) -> int:
    return sum(math.prod(shape) for shape in graph.parameters(networks).values())


def entries(section: str) -> list[Any]:
    return [
        pytest.param(s, n, e, id=f"{s}-{n}") for s, sheet in SHEETS.items() for n, e in sheet.get(section, {}).items()
    ]


@pytest.mark.parametrize("system, network, expected", entries("networks"))
def test_a_network_has_as_many_parameters_as_its_sheet_says(system: str, network: str, expected: int) -> None:
    assert count(load(system).graph, (network,)) == expected


@pytest.mark.parametrize("system, player, expected", entries("players"))
def test_a_player_owns_as_many_parameters_as_the_sheet_says_each_once(system: str, player: str, expected: int) -> None:
    graph = load(system).graph
    assert count(graph, graph.players[player].networks) == expected


def lone(folder: Path, entry: dict[str, Any]) -> Any:
    """The graph of a spec around one network of the library."""
    lines = ["gangraph: 1", "name: one", "inputs:", *(f"  {k}: {v}" for k, v in entry["inputs"].items())]
    lines += ["networks:", f"  Q: {entry['network']}", "losses:", f"  size: expect(mean(square({entry['call']})))"]
    lines += [
        "players:",
        '  P: {networks: [Q], optimizer: "Adam(lr=1e-3)"}',
        "schedule: {P: size}",
        "train: {batch: 2}",
    ]
    path = folder / "one.yaml"
    path.write_text("\n".join(lines))
    return load(path).graph


@pytest.mark.parametrize("system, network, entry", entries("library"))
def test_a_network_of_the_library_has_as_many_parameters_as_the_sheet_says(
    system: str, network: str, entry: dict[str, Any], tmp_path: Path
) -> None:
    assert count(lone(tmp_path, entry), ("Q",)) == entry["parameters"]


# The outputs of every network that the spec itself calls, of the last stage, at the size of the paper.
OUTPUTS: dict[str, dict[str, list[tuple[int, ...]]]] = {
    "gan": {"G": [(2,)], "D": [(1,)]},
    "gan-minimax": {"G": [(2,)], "D": [(1,)]},
    "dcgan": {"G": [(3, 64, 64)], "D": [(1,)]},
    "wgan-gp": {"G": [(3, 64, 64)], "D": [(1,)]},
    "vae-gan": {"Enc": [(1024,)], "Lat": [(128,), (128,)], "Dec": [(3, 64, 64)], "Dis": [(1,)]},
    "cyclegan": {"G": [(3, 256, 256)], "F": [(3, 256, 256)], "D_X": [(1, 30, 30)], "D_Y": [(1, 30, 30)]},
    "unit": {
        "enc_shared": [(256, 32, 32)],
        "dec_shared": [(256, 32, 32)],
        "E[0]": [(256, 32, 32)],
        "E[1]": [(256, 32, 32)],
        "G[0]": [(3, 128, 128)],
        "G[1]": [(3, 128, 128)],
        "D[0]": [(4,)],  # 2 x 2 logits, flattened
        "D[1]": [(4,)],
    },
    "bicyclegan": {
        "G": [(3, 256, 256)],
        "E": [(8,), (8,)],
        "D": [(1, 30, 30), (1, 14, 14)],
        "D2": [(1, 30, 30), (1, 14, 14)],
    },
    "stylegan": {
        "f": [(512,)],
        "const": [(512, 4, 4)],
        "first": [(512, 4, 4)],
        **{f"block[{l}]": [(min(8192 // 2 ** (l - 1), 512), 2**l, 2**l)] for l in range(3, 11)},
        **{f"d_block[{l}]": [(min(8192 // 2 ** (l - 2), 512), 2 ** (l - 1), 2 ** (l - 1))] for l in range(3, 11)},
        "d_last": [(1,)],
        "g": [(3, 1024, 1024)],
        "D": [(1,)],
    },
    "stargan-v2": {"G": [(3, 256, 256)], "F": [(64,)], "E": [(64,)], "D": [()]},
    "autoencoder": {"Enc": [(30,)], "Dec": [(784,)]},
    "denoising-ae": {"W": [(784, 500)], "Enc": [(500,)], "Dec": [(784,)]},
    "contractive-ae": {"W": [(784, 500)], "Enc": [(500,)], "Dec": [(784,)]},
    "sparse-ae": {"Enc": [(25,)], "Dec": [(64,)]},
    "vae": {"Enc": [(20,), (20,)], "Dec": [(784,)]},
    "lsgan": {"G": [(3, 112, 112)], "D": [(1,)]},
    "wgan": {"G": [(3, 64, 64)], "D": [(1,)]},
    "hinge": {"G": [(3, 64, 64)], "D": [(1,)]},
    "f-gan": {"G": [(784,)], "V": [(1,)]},
    "sn-gan": {"G": [(3, 32, 32)], "D": [(1,)]},
    "cgan": {"G": [(784,)], "D": [(1,)]},
    "ali": {"Enc": [(256,), (256,)], "Dec": [(3, 64, 64)], "D_x": [(512,)], "D": [(1,)]},
    "pix2pix": {"G": [(3, 256, 256)], "D": [(1, 30, 30)]},
    "discogan": {
        "G_AB": [(3, 64, 64)],
        "G_BA": [(3, 64, 64)],
        "D_A": [(1,), (128, 16, 16), (256, 8, 8), (512, 4, 4)],
        "D_B": [(1,), (128, 16, 16), (256, 8, 8), (512, 4, 4)],
    },
    "dualgan": {"G_A": [(3, 256, 256)], "G_B": [(3, 256, 256)], "D_A": [(1,)], "D_B": [(1,)]},
    "cogan": {
        "trunk": [(128, 25, 25)],
        **{f"head[{d}]": [(1, 28, 28)] for d in "ab"},
        **{f"eyes[{d}]": [(20, 12, 12)] for d in "ab"},
        "judge": [(2,)],
    },
    "stackgan-1": {"CA": [(128,), (128,)], "G": [(3, 64, 64)], "D": [(512, 4, 4)], "head": [(1,)]},
    "stackgan-2": {
        "CA1": [(128,), (128,)],
        "G1": [(3, 64, 64)],
        "CA": [(128,), (128,)],
        "G": [(3, 256, 256)],
        "D": [(512, 4, 4)],
        "head": [(1,)],
        "plain": [(1,)],
    },
    "biggan": {"embed": [(128,)], "G": [(3, 128, 128)], "D": [(1,)]},
    "munit": {
        "Ec[0]": [(256, 64, 64)],
        "Es[0]": [(8,)],
        "M[0]": [(4096,)],
        "G[0]": [(3, 256, 256)],
        "D[0]": [(1, 16, 16), (1, 8, 8), (1, 4, 4)],
    },
    "drit": {
        "Ec[0]": [(256, 54, 54)],
        "Ea[0]": [(8,), (8,)],
        "G[0]": [(3, 216, 216)],
        "D[0]": [(1, 13, 13), (1, 6, 6), (1, 3, 3)],
        "Dc": [(1,)],
    },
    "cross-domain-disentanglement": {
        "Enc[0]": [(512, 8, 8), (8,)],
        "Dec[0]": [(3, 256, 256)],
        "Ex[0]": [(3, 256, 256)],
        "D[0]": [(32, 1)],
        "D_ex[0]": [(32, 1)],
    },
    "stargan": {"G": [(3, 128, 128)], "D": [(1, 2, 2), (5,)]},
    "stargan-rafd": {"G": [(3, 128, 128)], "D": [(1, 2, 2), (8,)]},
    "stargan-joint": {"G": [(3, 256, 256)], "D": [(1, 4, 4), (13,)]},
    "stargan-v2-masked": {"G": [(3, 256, 256)], "F": [(64,)], "FAN": [(1, 256, 256), (1, 256, 256)]},
    "cd-gan": {"e[0]": [(512, 4, 4), (512,)], "g[0]": [(3, 64, 64)], "d[0]": [(1,)]},
}


def outputs(graph: Any, network: str) -> list[tuple[int, ...]]:
    """Own axes of what the last variant of a network gives."""
    *_, module = graph.networks[network].variants.values()
    return [node.type.shape for node in module.outputs]


@pytest.mark.parametrize("system", OUTPUTS)
def test_outputs_have_the_shapes_of_the_paper(system: str) -> None:
    graph = load(system).graph
    assert {n: outputs(graph, n) for n in OUTPUTS[system]} == OUTPUTS[system]


RANGES = {
    ("dcgan", "fake"): (-1, 1),
    ("wgan-gp", "fake"): (-1, 1),
    ("cyclegan", "fake_y"): (-1, 1),
    ("unit", "fake[0]"): (-1, 1),
    ("bicyclegan", "b_rnd"): (-1, 1),
    ("vae-gan", "p_x"): (0, 1),
    ("stargan-v2", "fake[latent]"): None,
    ("gan", "fake"): None,
    ("lsgan", "fake"): (-1, 1),
    ("f-gan", "fake"): (0, 1),
    ("ali", "x_til"): (0, 1),
    ("pix2pix", "fake_y"): (-1, 1),
    ("discogan", "x_AB"): (0, 1),
    ("dualgan", "A2B"): (-1, 1),
    ("cogan", "fake[b]"): (0, 1),
    ("stackgan-2", "fake"): (-1, 1),
    ("biggan", "fake"): (-1, 1),
}


@pytest.mark.parametrize("system, value", RANGES)
def test_the_range_of_a_fake_follows_from_its_last_layer(system: str, value: str) -> None:
    assert load(system).graph.values[value].type.range == RANGES[system, value]


def test_the_shapes_of_dcgan_double_from_4_to_64() -> None:
    module = load("dcgan").graph.networks["G"].module
    maps = [m for _, m in module.layers() if m.layer and m.title == "ConvTranspose2d"]
    assert [m.shape[-1] for m in maps] == [4, 8, 16, 32]
    assert [m.layer.output(m.shape)[-1] for m in maps if m.layer] == [8, 16, 32, 64]


def test_nothing_in_dcgan_is_called_bias_but_those_of_batch_norm() -> None:
    graph = load("dcgan").graph
    for name in ("G", "D"):
        layers = dict(graph.networks[name].module.layers())
        for path, module in layers.items():
            if "bias" in module.parameters():
                assert module.title in ("BatchNorm1d", "BatchNorm2d"), path


def test_counting_needs_no_torch() -> None:
    code = """
import sys
from gangraph.compiler import load
for name in sys.argv[1:]:
    graph = load(name).graph
    assert graph.parameters(tuple(graph.networks))
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code, *SYSTEMS], check=True, cwd=root)
