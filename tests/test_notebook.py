"""In a notebook a spec, and a compiled one, show their diagram and their equations, and no text of theirs is markup."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import gangraph
from gangraph import _paths

HOSTILE = '</title><script>alert(1)</script>"&\\begin{x}'


def test_a_spec_shows_its_diagram_and_its_objectives() -> None:
    spec = gangraph.load("gan", tiny=True)
    page = spec._repr_html_()
    root = ElementTree.fromstring(page)
    (svg,) = [e for e in root.iter() if e.tag.endswith("}svg")]
    assert spec._repr_svg_() in page and len([e for e in svg.iter() if e.get("class") == "node"]) == 8
    assert len([e for e in root.iter() if e.tag.endswith("}math")]) > 3


def test_the_latex_is_one_environment_of_balanced_groups() -> None:
    text = gangraph.load("cyclegan", tiny=True)._repr_latex_()
    assert text.startswith("\\begin{align*}") and text.endswith("\\end{align*}") and text.count("{align*}") == 2
    assert "\\textbf{translators}" in text and "\\mathbb{E}" in text
    assert not re.search(r"(?<!\\)[#%]", text) and text.count("{") == text.count("}")


def test_a_compiled_spec_shows_the_same() -> None:
    pytest.importorskip("torch")
    spec = gangraph.load("gan", tiny=True)
    gan = gangraph.compile(spec)
    assert gan._repr_html_() == spec._repr_html_() and gan._repr_svg_() == spec._repr_svg_()
    assert gan._repr_latex_() == spec._repr_latex_()


def test_texts_of_a_spec_are_no_markup(tmp_path: Path) -> None:
    source = (_paths.specs() / "gan.yaml").read_text()
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    file = tmp_path / "hostile.yaml"
    file.write_text(source.replace("title: Generative Adversarial Nets", f"title: {quoted}"))
    page = gangraph.load(file, tiny=True)._repr_html_()
    assert not [e for e in ElementTree.fromstring(page).iter() if e.tag.endswith("script")]
    assert "<script" not in page


def test_verbs_are_called_with_what_they_take() -> None:
    """Modules that are called: their signature, what there is, and errors in words of Python."""
    names = ("compile", "diff", "draw", "equations", "load", "train", "verify")
    assert set(names) <= set(dir(gangraph))
    assert list(inspect.signature(gangraph.diff).parameters) == ["a", "b"]
    assert "iterations" in inspect.signature(gangraph.train).parameters
    assert str(gangraph.diff("gan", "gan")) == "gan and gan mean the same"
    assert gangraph.draw("gan", "mmd").startswith("flowchart")
    with pytest.raises(gangraph.RunError, match=r"^batch_size is -3, and must be 1 or more$"):
        gangraph.train("gan", batch_size=-3)
