"""Faults in emitted programs, made by rule: what people get wrong, once at each place where it can be got wrong."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Per rule: what stands in a line, and what a careless hand makes of it. Each occurrence is a mutant of its own.
RULES: dict[str, list[tuple[str, str]]] = {
    "flipped sign": [(r" \+ ", " - "), (r" - ", " + "), (r"\(-(?=[a-zA-Z(])", "(")],
    "dropped or doubled term": [
        (r" \+ [\w.]+(?:\([^()]*\))*(?=$|\))", ""),
        (r"return Evaluation\(\{\"(\w+)\": ", r"\g<0>2 * "),
    ],
    "changed weight": [(r"(?<== )(\d+\.?\d*) \* ", r"2 * \g<0>"), (r"self\.(\w+) \* ", "")],
    "sum for mean": [(r"\.mean\(\)", ".sum()")],
    "mean over the wrong axis": [(r"dim=1\b", "dim=0"), (r"flatten\(1\)\.mean\(1\)", "flatten(1).mean(0)")],
    "missing or added stop": [
        (r"\.detach\(\)(?!\.requires)", ""),
        (r"(?<== )self\.\w+\(\w+\)(?=  #|$)", r"\g<0>.detach()"),
    ],
    "missing root": [(r"\.sqrt\(\)", ""), (r"\.square\(\)", ""), (r"\.norm\(dim=1\)", ".square().sum(1)")],
    "rate or beta changed": [(r'"lr": ', '"lr": 1.5 * '), (r'"betas": \(0\.5', '"betas": (0.9'), (r"0\.999\)", "0.9)")],
    "average with another weight": [(r'self\.follow\("(\w+)", ', r"\g<0>0.5 * ")],
    "pool bypassed": [(r'self\.pools\["[^"]+"\]\((\w+), [^)]*\)', r"\1")],
    "off by one in a repeat": [(r"range\((\d+)\)", r"range(1 + \1)"), (r"range\(self\.(\w+)\)", r"range(1 + self.\1)")],
    "layer changed": [
        (r"stride=2", "stride=1"),
        (r"LeakyReLU\(0\.\d+\)", "LeakyReLU(0.3)"),
        (r"padding=1", "padding=0"),
        (r"nn\.Tanh\(\)", "nn.Sigmoid()"),
        (r"nn\.ReLU\(\)", "nn.Tanh()"),
        (r"eps=[\d.e-]+", "eps=0.1"),
    ],
    "swapped conditions": [(r"(?<= )<(?= )", ">"), (r"(?<= )>(?= )", "<")],
    "other or no update": [(r'^        self\.play\("\w+", .*$', "        pass")],
}


@dataclass(frozen=True)
class Mutant:
    rule: str
    line: int
    old: str
    new: str
    source: str

    @property
    def key(self) -> str:
        """`METHOD: RULE: OLD -> NEW`."""
        above = self.source.split("\n")[: self.line]
        method = next(text.split("(")[0].split()[1] for text in reversed(above) if text.startswith("    def "))
        return f"{method}: {self.rule}: {self.old.strip()} -> {self.new.strip()}"


def mutants(source: str, title: str) -> Iterator[Mutant]:
    """Every mutant of the system's own part of a program: its networks and its game, without samples and `main`."""
    lines = source.split("\n")
    for number in sorted(_own_lines(source, title)):
        for rule, changes in RULES.items():
            for pattern, replacement in changes:
                for match in re.finditer(pattern, lines[number]):
                    new = lines[number][: match.start()] + match.expand(replacement) + lines[number][match.end() :]
                    yield _mutant(lines, number, rule, new)
        yield from _swaps(lines, number)
    yield from _owners(lines, title)


def _mutant(lines: list[str], number: int, rule: str, *new: str) -> Mutant:
    changed = [*lines[:number], *new, *lines[number + len(new) :]]
    return Mutant(rule, number + 1, lines[number], " / ".join(new), "\n".join(changed))


def _swaps(lines: list[str], number: int) -> Iterator[Mutant]:
    """Real for fake, and two moves in the other order."""
    line = lines[number]
    for a, b in (("real", "fake"), ("latent", "reference"), ("X", "Y")):
        if "=" in line and re.search(rf"_{a}\b", line) and "def " not in line:
            left, right = line.split("=", 1)
            new = left + "=" + re.sub(rf"_{a}\b", f"_{b}", right)
            if new != line and f"_{b} = " in "\n".join(lines):
                yield _mutant(lines, number, "real and fake swapped", new)
    if line.startswith("        self.play(") and lines[number + 1].startswith("        self.play("):
        yield _mutant(lines, number, "phases swapped", lines[number + 1], line)


def _owners(lines: list[str], title: str) -> Iterator[Mutant]:
    """A phase that trains what another one should."""
    for number, line in enumerate(lines):
        if "self.phases = {" in line:
            found = re.findall(r'"(\w+)": \("(\w+)", (\([^()]*\))', line)
            for (_, _, a), (_, _, b) in itertools.pairwise(found):
                if a != b:
                    yield _mutant(lines, number, "wrong owned parameters", line.replace(a, b, 1))


def _own_lines(source: str, title: str) -> set[int]:
    tree = ast.parse(source)
    runtime = {"Game", "Evaluation", "Draws", "Pool", "View", "Entry", "Reversal"}
    found: set[int] = set()
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name in runtime:
            continue
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith(("view_", "fetches", "initialize")):
                documented = ast.get_docstring(inner) is not None
                start = inner.body[1].lineno if documented and len(inner.body) > 1 else inner.body[0].lineno
                found.update(range(start - 1, inner.end_lineno or start))
    lines = source.split("\n")
    return {n for n in found if lines[n].strip() and not lines[n].lstrip().startswith(("#", '"""'))}
