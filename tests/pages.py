"""The pages of the gallery at their tiny sizes, made once for all tests of one process."""

from __future__ import annotations

import functools
from pathlib import Path

from gangraph import _paths
from gangraph.compiler import Spec, load
from gangraph.page import Facts, find_facts
from gangraph.page.facts import Stage

GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))
HOSTILE = Path(__file__).parent / "data" / "hostile.yaml"


@functools.cache
def spec(name: str) -> Spec:
    return load(name, tiny=True)


@functools.cache
def facts(name: str) -> Facts:
    return find_facts(spec(name), shuffles=1)


def stage(name: str) -> Stage:
    """The last stage of a system, which is all of most."""
    return facts(name).stages[-1]
