"""Writes the tables of docs/language.md and README.md that the code knows best: `python docs/tables.py`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. `tests/test_docs.py` holds that they are current.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from pathlib import Path

from gangraph import _paths, ops
from gangraph.check import MEANT
from gangraph.compiler import load
from gangraph.document import read
from gangraph.layers import LAYERS, WRAPPERS
from gangraph.players import OPTIMIZERS

DOCS = Path(__file__).parent

# Operators that have no word: they are written as signs.
SIGNS = {*ops.BINARY.values(), "neg"}
GROUPS: dict[str, dict[str, str]] = {
    "entry by entry": {
        "exp": "", "log": "", "sqrt": "", "abs": "", "square": "the same as `v**2`", "sin": "", "cos": "", "acos": "",
        "sigmoid": "", "tanh": "", "relu": "", "softplus": "log(1 + exp(v)), exact everywhere", "silu": "", "gelu": "",
        "elu": "", "selu": "", "mish": "", "leaky_relu": "", "clamp": "the bounds are numbers",
        "where": "entries of a where the condition holds, else of b; by a clock, all of one",
        "lerp": "a + t (b - a)",
        "max": "of one value over its own axes, of two entry by entry; ties share the gradient; a number takes none",
        "min": "as `max`",
    },
    "gradients": {"stop": "a constant", "reverse": "the gradient times -s"},
    "reductions of a sample's own axes": {
        "mean": "", "sum": "", "norm": "Euclidean; its gradient at 0 is 0", "std": "unbiased", "logsumexp": "",
        "softmax": "", "log_softmax": "", "argmax": "integers, no gradient", "argmin": "integers, no gradient",
        "cross_entropy": "reduces the first own axis; the target is a label, integers or a number",
    },
    "samples": {
        "expect": "the mean over the samples: a shared value", "total": "the sum over the samples: a shared value",

        "samples_of": "all samples as the first own axis of a shared value; "
        "`reshape(v, 1, n) - samples_of(w)`: all pairs",
        "batch_concat": "of a list",
        "batch_repeat": "the samples n times over: a b, a b",
        "take": "reorders the samples by integers, or takes entries of an own axis: `take(x, [2, 1, 0], dim=1)`",
        "select": "one entry for each sample, by its label", "one_hot": "the new axis is the first own one",
    },
    "shape": {
        "concat": "", "stack": "", "tile": "a vector at every place of a map", "reshape": "own axes; one may be -1",
        "transpose": "two own axes", "matmul": "over the last two own axes; those in front meet entry by entry",
        "resize": "modes bilinear, nearest, area",
        "pad": "[left, right, top, bottom]; modes zeros, reflect, replicate, circular",
        "convolve": "a kernel that is a value, also one for each sample", "zeros": "shared", "ones": "shared",
    },
}  # fmt: skip
SPECIAL = {
    "add(list)": "the sum of a list or a family",
    "average(list)": "its mean",
    "split(v, n, dim=1)": "a list of n equal parts along an own axis",
    "batch_split(v, n)": "a list of n equal parts along the samples; of a list: a list of lists",
    "copies(v, n)": "a list of one value n times, for a network that reads a list",
    "separability(latent, seen)": "a metric by itself: how well planes tell the kinds of `seen` apart in `latent`",
    "grad(y, x)": "see above",
    "replay(v, size, swap=0.5)": "a pool, see below",
    "weights(N, LAYER...)": "a list of parameters",
    'parameter("N.0.weight")': "one parameter",
    "log2(n), range(n), len(list)": "of numbers and lists known before the run",
}


def language() -> dict[str, str]:
    """The text of every table of docs/language.md, by name."""
    return {
        "operators": operators(),
        "layers": layers(),
        "initializers": ", ".join(f"`{name}({signature})`" for name, signature in ops.INITIALIZERS.items()) + ".",
        "optimizers": table(
            "optimizer", "arguments", {n: ", ".join(f"`{a}`" for a in known) for n, known in _optimizers()}
        ),
        "meant": table("name", "meaning", dict(MEANT)),
        "library": library(),
    }


def _optimizers() -> list[tuple[str, list[str]]]:
    return [(f"`{name}`", [a for a in arguments if a != "form"]) for name, arguments in OPTIMIZERS.items()]


def table(left: str, right: str, rows: dict[str, str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def operators() -> str:
    """Operators by what they do. One without a place in `GROUPS` is an error of this script."""
    missing = set(ops.OPERATORS) - SIGNS - {name for group in GROUPS.values() for name in group}
    assert not missing, f"docs/tables.py says nothing of {', '.join(sorted(missing))}"
    blocks = []
    for title, group in GROUPS.items():
        rows = {f"`{name}({ops.OPERATORS[name].signature})`": text for name, text in group.items()}
        plain = [key for key, text in rows.items() if not text]
        told = table(title, "", {key: text for key, text in rows.items() if text})
        blocks.append(told + (f"\n\nAlso {', '.join(plain)}." if plain else ""))
    blocks.append(table("lists and networks", "", {f"`{key}`": text for key, text in SPECIAL.items()}))
    return "\n\n".join(blocks)


def layers() -> str:
    rows = {}
    for layer in [*LAYERS.values(), *WRAPPERS.values()]:
        text = (layer.__doc__ or "").split("\n")[0].replace("|", "\\|")
        name, _, inside = layer.signature().partition("(")
        first = "N, " if layer.__name__ in WRAPPERS else ""
        rows[f"`{name}({first}{inside}`".replace(", )", ")")] = text
    return table("layer", "what comes out", rows)


def library() -> str:
    """Signatures of the standard library, file by file."""
    lines = []
    for path in sorted((_paths.specs() / "library").glob("*.yaml")):
        for section, tree in read(path).root.entries.items():
            signatures = ", ".join(f"`{key}`" for key in getattr(tree, "entries", {}))
            lines.append(f"- {section} of `{path.name}`: {signatures}")
    return "\n".join(lines)


# --- the gallery


def gallery() -> dict[str, str]:
    """The table of README.md: a row for each system."""
    head = ["system", "paper", "lines", "players", "parameters", "learned small", "picture"]
    rows = [_system(path) for path in sorted(_paths.specs().glob("*.yaml"))]
    return {"gallery": "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])}


def _system(path: Path) -> list[str]:
    """Name, paper, lines of the file, players with their folded phases, parameters (each tensor once), what it learned,
    picture.
    """
    spec = load(path)
    paper, graph = spec.parsed.file.paper, spec.graph
    title = f"{paper.title} ({paper.year})" if paper.year else str(paper.title or "")
    link = f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else str(paper.url or "")
    lines = sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    over = read(path).root.entries.get("extends")
    players = dict.fromkeys(name.partition("[")[0] for name in graph.players)
    count = sum(math.prod(shape) for shape in graph.parameters(list(graph.networks)).values())
    picture = f"docs/pictures/{spec.name}.svg"
    return [
        f"[{spec.name}](specs/{path.name})",
        f"[{_plain(title)}]({link})" if link else _plain(title),
        f"{lines} over {over}" if over is not None else str(lines),
        ", ".join(players),
        f"{count:,}",
        _learned(spec.name),
        f'<a href="{picture}"><img src="{picture}" width="360" alt="diagram of {spec.name}"></a>',
    ]


def _learned(name: str) -> str:
    """The figure of learning.md that says most of a system: what its samples are told to be, or the first; or that
    there is none, and where it is said why.
    """
    page = (DOCS / "learning.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ")[-3:] for line in page.splitlines() if line.startswith(f"| {name} |")]
    rows = [row for row in rows if row[1] != "-"]  # of a last stage there is nothing from before
    best = next((row for row in rows if row[0].startswith("told/")), rows[0] if rows else None)
    return f"{best[0]} {best[1].partition(' (')[0]} to {best[2]}" if best else "not trained ([why](docs/learning.md))"


def _plain(text: str) -> str:
    """Text in a cell of a table."""
    return html.escape(text, quote=False).replace("|", "\\|")


PAGES: dict[Path, Callable[[], dict[str, str]]] = {DOCS / "language.md": language, DOCS.parent / "README.md": gallery}


def written(page: str, tables: dict[str, str]) -> str:
    """A page with its tables made anew."""
    for name, text in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        assert re.search(pattern, page, re.DOTALL), f"no place for {name}"
        page = re.sub(pattern, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    for file, tables in PAGES.items():
        file.write_text(written(file.read_text(encoding="utf-8"), tables()), encoding="utf-8")
