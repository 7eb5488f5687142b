"""The gallery's specs with random edits: no traceback, and what passes `check` means what it says."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from support import written

import gangraph
from gangraph import _paths

TEXTS = {path.stem: path.read_text() for path in sorted(_paths.specs().glob("*.yaml"))}
TOKEN = re.compile(r"[A-Za-z_][\w.]*|\d+(?:\.\d+)?|\S")
OTHERS = """
+ - * / ** // % < > == [ ] ( ) , : = 0 1 -1 2 0.5 1e9 N step epoch _ and not if else true null stop( grad( expect( sum(
mean( norm( log( concat( select( one_hot( reshape( take( add( average( upto( lerp( replay( total(
""".split()  # noqa: SIM905 - a list of words is easier to read
SMALL = ("gan", "cgan", "vae", "autoencoder", "denoising-ae", "lsgan", "wgan-gp", "hinge", "stargan", "cogan", "f-gan")


def edited(text: str, draw: random.Random) -> str:
    """A text with one to three edits: lines removed or copied; tokens replaced, removed, added."""
    lines = text.split("\n")
    words = [*TOKEN.findall(text), *OTHERS]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        made, tokens = ["", lines[other]], list(TOKEN.finditer(lines[at]))
        if tokens:
            token, word = draw.choice(tokens), draw.choice(words)
            before, behind = lines[at][: token.start()], lines[at][token.end() :]
            made += 2 * [f"{before}{word}{behind}", before + behind] + [f"{before}{token.group()} {word} {behind}"]
        lines[at] = draw.choice(made)
    return "\n".join(lines)


def passes(text: str, folder: Path) -> gangraph.Spec | None:
    try:
        return gangraph.load(written(folder, text), tiny=True)
    except gangraph.GangraphError:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_an_edited_spec_gives_no_traceback(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        spec = passes(edited(TEXTS[draw.choice(list(TEXTS))], draw), tmp_path)
        if spec is not None:
            compile(spec.program.source, "program.py", "exec")
            assert gangraph.equations(spec) and gangraph.equations(spec, "latex") and spec.text


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_an_edited_spec_means_what_it_says(seed: int, tmp_path: Path) -> None:
    draw, verified = random.Random(100 + seed), 0
    while verified < 50:
        text = edited(TEXTS[draw.choice(SMALL)], draw)
        spec = passes(text, tmp_path)
        if spec is not None:
            report = gangraph.verify(spec, cases=1)
            assert report.good, f"{text}\n{report}"
            verified += 1
