r"""Spec -> equations: the objective of every player, as its paper would print it, in LaTeX, MathML or plain text.

    facts, sources -> settle -> write -> stage -> merge -> breaks -> formats

The expressions of the file are the source, and the compiler's facts say what cannot be read off them (`facts.py`),
as what an expectation runs over (`sources.py`). A formula is brought to the form that papers print (`settle.py`) and
written once in two forms, LaTeX and terminal text, as a `Piece` (`write.py`, with `symbols.py` and `pieces.py`).
`stage.py` collects the sections of one stage, `merge.py` those of all stages, `breaks.py` makes lines that fit a page,
and `formats.py` prints them.

>>> import gangraph
>>> spec = gangraph.load("gan-minimax")
>>> adv = next(section for section in sections(spec) if section.title == "adv")
>>> adv.equations[1].left
Piece(latex='\\mathcal{L}_{\\mathrm{adv}}^{\\mathrm{dis}}', text='ℒ_adv^dis', strength=9)
>>> print(gangraph.equations(spec).split("\n\n")[3])
adv
  min_G max_D V_adv = 𝔼_{x ∼ p_data}[log σ(D(x))] + 𝔼_{z ∼ 𝒩(0, I)}[log(1 − σ(D(fake)))]
          ℒ_adv^dis = −V_adv
          ℒ_adv^gen = 𝔼_{z ∼ 𝒩(0, I)}[log(1 − σ(D(fake)))]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gangraph.equations.formats import FORMATS
from gangraph.equations.merge import sections
from gangraph.errors import RunError, nearest
from gangraph.verb import callable_itself

if TYPE_CHECKING:
    from pathlib import Path

    from gangraph.compiler import Spec


def equations(spec: Spec | str | Path, format: str = "text") -> str:
    """The objective of every player and what it is made of: `text`, `latex` (amsmath, amssymb) or `mathml`."""
    from gangraph.compiler import load

    if format not in FORMATS:
        known = nearest(format, FORMATS) or "there are " + ", ".join(FORMATS)
        raise RunError(f"no format is called '{format}' ({known})")
    loaded = load(spec)
    return FORMATS[format](sections(loaded), loaded.name)


callable_itself(__name__)
