"""Bugs that people have reported in GAN code, each as a file, and what gangraph does with it.

A file under tests/defects has a `title`, a `source` (one citation or several), a `spec` and an `outcome`:

- `rejected`: `check` refuses the spec, with these `message`s and no others.
- `warned`: `check` lets the spec through, with these `message`s and no others.
- `caught`: the emitted program with the edits of `program` is found by `gangraph verify SPEC --program`: `differs` has
  the number of each property that must differ, and what is the first that does.
- `impossible`: the spec that people would write, and `shows`, claims about what comes out (see CLAIMS).
- `trained`: a run stops, and its error begins with `message`.
- `missed`: nothing finds it, neither `check` nor, where there is a `program`, `verify`. `why` says what would.

A spec is a text or `{of: NAME, edits}`: a file of tests/defects/bases, or a system of the gallery in its tiny sizes,
with each old text, which must occur once, replaced by a new one. Files under tests/defects/right are odd, and right:
`check` says nothing, and `verify` agrees where the file does not say `verify: false`.

`python tests/test_defects.py` writes docs/defects.md from these files.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from support import batches, buffers, build, iterate, moved, snapshot, watched, written

import gangraph
from gangraph.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "defects"
PAGE = ROOT / "docs" / "defects.md"
OUTCOMES = ("rejected", "warned", "caught", "impossible", "trained", "missed")
KEYS = {
    "rejected": {"message"},
    "warned": {"message"},
    "caught": {"program", "differs"},
    "impossible": {"shows", "why"},
    "trained": {"train", "message"},
    "missed": {"why"},
}


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


@cache
def entry(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return found


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


DEFECTS = files(FOLDER)
RIGHT = files(FOLDER / "right")
BASES = files(FOLDER / "bases")


def of(outcome: str) -> Any:
    """A test for each file of an outcome."""
    found = [path for path in DEFECTS if entry(path)["outcome"] == outcome]
    return pytest.mark.parametrize("path", found, ids=lambda path: path.stem)


def edited(text: str, edits: list[list[str]]) -> str:
    """A text with edits; each old text must occur exactly once."""
    for old, new in edits:
        assert text.count(old) == 1, f"{text.count(old)} times: {old!r}"
        text = text.replace(old, new)
    return text


def spec_text(case: dict[str, Any]) -> str:
    spec = case["spec"]
    if isinstance(spec, str):
        return spec
    base = FOLDER / "bases" / f"{spec['of']}.yaml"
    text = base.read_text(encoding="utf-8") if base.is_file() else gangraph.load(spec["of"], tiny=True).text
    return edited(text, spec.get("edits", []))


def spec_file(path: Path, folder: Path) -> Path:
    return written(folder, spec_text(entry(path)))


def problems(path: Path) -> list[str]:
    """What `check` says of a file, without the places: `PATH: FACT (HELP)`."""
    try:
        found = gangraph.load(path).warnings
    except gangraph.SpecError as error:
        found = error.problems
    return [str(problem).splitlines()[0].removeprefix(f"{problem.place} ") for problem in found]


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[int, str], str]:
    """`gangraph verify`: its exit status, the first difference of each property that differs, and its output."""
    from gangraph.verify import PROPERTIES

    with pytest.raises(SystemExit) as ended:
        main(["verify", *arguments, "--cases", "8"])
    out = capsys.readouterr().out
    table, *details = out.rstrip("\n").split("\n\n")
    numbers = [
        n for n, text in PROPERTIES.items() if re.search(rf"{re.escape(text)} +.* differs$", table, re.MULTILINE)
    ]
    assert len(numbers) == len(details), out
    # Which parameter of a network is the first, and which of its entries, is a matter of rounding.
    firsts = [re.sub(r"\[[\d, ]+\]$", "", text.splitlines()[0]) for text in details]
    firsts = [re.sub(r"(\.[^ .]+)*\.(weight|bias)$", "", first) for first in firsts]
    return int(ended.value.code or 0), dict(zip(numbers, firsts, strict=True)), out


# --- the corpus -------------------------------------------------------------------------------------------------------


def test_the_corpus_is_large() -> None:
    assert len([path for path in DEFECTS if entry(path)["outcome"] != "missed"]) >= 40
    assert len(RIGHT) >= 15


@pytest.mark.parametrize("path", DEFECTS + RIGHT, ids=lambda path: path.stem)
def test_a_file_has_the_keys_of_its_outcome(path: Path) -> None:
    case = entry(path)
    common = {"title", "source", "spec"}
    if path.parent == FOLDER:
        assert case["outcome"] in OUTCOMES
        optional = {"program"} if case["outcome"] == "missed" else set()
        assert set(case) - optional == common | {"outcome"} | KEYS[case["outcome"]]
    else:
        assert set(case) - {"verify"} == common


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.stem)
def test_what_the_defects_are_put_into_is_right(path: Path) -> None:
    assert problems(path) == []


# --- rejected and warned ----------------------------------------------------------------------------------------------


@of("rejected")
def test_check_refuses(path: Path, tmp_path: Path) -> None:
    file = spec_file(path, tmp_path)
    assert problems(file) == listed(entry(path)["message"])
    with pytest.raises(gangraph.SpecError):
        gangraph.load(file)


@of("warned")
def test_check_warns(path: Path, tmp_path: Path) -> None:
    file = spec_file(path, tmp_path)
    assert problems(file) == listed(entry(path)["message"])
    assert gangraph.load(file).warnings


# --- caught and missed ------------------------------------------------------------------------------------------------


def changed_program(path: Path, folder: Path) -> tuple[Path, Path]:
    """The spec of a file, and its program with the file's edits."""
    file = spec_file(path, folder)
    spec = gangraph.load(file)
    assert spec.warnings == ()
    return file, written(folder, edited(spec.program.source, entry(path)["program"]), "edited.py")


@of("caught")
def test_verify_finds(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, program = changed_program(path, tmp_path)
    status, differ, out = verified(capsys, str(file), "--program", str(program))
    assert status == 1
    assert differ == entry(path)["differs"], out


@of("missed")
def test_nothing_finds_yet(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails when something does: then the file says what, with another outcome."""
    if "program" not in entry(path):
        assert problems(spec_file(path, tmp_path)) == []
    else:
        file, program = changed_program(path, tmp_path)
        status, differ, _ = verified(capsys, str(file), "--program", str(program))
        assert (status, differ) == (0, {})


def test_an_edit_that_does_not_apply_is_an_error() -> None:
    for old in ("nowhere", "a"):  # not there, and there twice
        with pytest.raises(AssertionError):
            edited("a and a", [[old, "b"]])


# --- impossible -------------------------------------------------------------------------------------------------------


def owners(names: Any) -> set[str]:
    """The networks of some parameters."""
    return {name.split(".")[0] for name in names}


def claim_moves(gan: Any, case: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """Each phase reaches, and moves, parameters of these networks, and no other; no `.grad` is left."""
    size = gan.spec.resolved[0].batch.now
    assert list(gan.phases) == list(expected)
    for phase, networks in expected.items():
        batch = batches(gan, size)[0]
        assert owners(gan.gradients(phase, batch, gan.draw(size, 0))) == set(networks), phase
    with watched(gan) as steps:
        iterate(gan, size)
    assert {phase for phase, _ in steps} == set(expected)
    for phase, names in steps:
        assert owners(names) == set(expected[phase]), phase


def claim_reaches(gan: Any, case: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """A phase hands exactly these parameters to its optimizer."""
    size = gan.spec.resolved[0].batch.now
    for phase, names in expected.items():
        assert list(gan.gradients(phase, batches(gan, size)[0], gan.draw(size, 0))) == names


def claim_same(gan: Any, case: dict[str, Any], edits: list[list[str]], folder: Path) -> None:
    """The spec with these edits trains to the same weights, bit for bit."""
    other = build(written(folder, edited(spec_text(case), edits), "other.yaml"))
    assert other.source != gan.source
    for turn in range(3):
        iterate(gan, 4, turn)
        iterate(other, 4, turn)
    assert not moved(snapshot(gan), snapshot(other))


def claim_draws(gan: Any, case: dict[str, Any], edits: list[list[str]], folder: Path) -> None:
    """The spec with these edits has more draws, and those of before are the same."""
    other = build(written(folder, edited(spec_text(case), edits), "other.yaml"))
    before, after = gan.draw(4, 0), other.draw(4, 0)
    assert set(before) < set(after)
    assert not moved(before, after)
    logs = [game.step(batches(gan, 4), seed=5) for game in (gan, other)]
    gan_and_other = [{phase: log[phase] for phase in ("D", "G")} for log in logs]
    assert owners(gan_and_other[0]) == {"D", "G"}
    assert owners(logs[1]) > owners(logs[0])


def claim_worth(gan: Any, case: dict[str, Any], expected: dict[str, Any]) -> None:
    """With these weights a loss has this value, whatever the batch."""
    with torch.no_grad():
        for name, value in expected["weights"].items():
            gan.named_parameters()[name].copy_(torch.tensor(value))
    for size in expected["batches"]:
        found = gan.losses(batches(gan, size)[0], gan.draw(size, 0))[expected["loss"]]
        assert float(found) == pytest.approx(expected["value"], abs=1e-12), size


def claim_steps(gan: Any, case: dict[str, Any], expected: dict[str, int]) -> None:
    """How often each phase steps in an iteration."""
    with watched(gan) as steps:
        iterate(gan, 4)
    phases = [phase for phase, _ in steps]
    assert {phase: phases.count(phase) for phase in phases} == expected


def claim_batches(gan: Any, case: dict[str, Any], expected: int) -> None:
    """An iteration takes so many batches, and needs them all."""
    assert gan.fetches() == expected
    with pytest.raises(ValueError, match=f"takes {expected} batches"):
        gan.step(batches(gan, 4)[:-1], gan.draw(4, 0))


def claim_clocks(gan: Any, case: dict[str, Any], expected: dict[str, int]) -> None:
    """The clocks after one iteration."""
    iterate(gan, 4)
    assert {name: gan.clocks[name] for name in expected} == expected


def claim_still(gan: Any, case: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """A phase leaves the layer state of these networks, which another phase moves."""
    original, found = gan.game.play, {}

    def play(phase: str, *rest: Any, **options: Any) -> None:
        before = buffers(gan)
        original(phase, *rest, **options)
        found[phase] = owners(moved(before, buffers(gan)))

    gan.game.play = play
    iterate(gan, 4)
    for phase, networks in expected.items():
        assert not found[phase] & set(networks)
        assert set(networks) <= set().union(*found.values())


def claim_resumes(gan: Any, case: dict[str, Any], count: int) -> None:
    """`count` iterations, a copy of the state into another program, and `count` more are twice as many."""
    other = build(gan.spec, seed=1)
    for turn in range(count):
        iterate(gan, 4, turn)
    other.load_state_dict(copy.deepcopy(gan.state_dict()))
    for turn in range(count, 2 * count):
        iterate(gan, 4, turn)
        iterate(other, 4, turn)
    assert not moved(snapshot(gan), snapshot(other))
    one, two = ({n: p.clone() for n, p in game.averages.named_parameters()} for game in (gan, other))
    assert one and not moved(one, two)


CLAIMS = {name.removeprefix("claim_"): claim for name, claim in list(globals().items()) if name.startswith("claim_")}
SPECS = [path for path in DEFECTS if entry(path)["outcome"] == "impossible"]
SHOWN = [(path, claim) for path in SPECS for claim in entry(path)["shows"]]


@pytest.mark.parametrize(("path", "claim"), SHOWN, ids=lambda value: getattr(value, "stem", value))
def test_what_comes_out_is_right(path: Path, claim: str, tmp_path: Path) -> None:
    file = spec_file(path, tmp_path)
    assert problems(file) == []
    extra = (tmp_path,) if claim in ("same", "draws") else ()
    CLAIMS[claim](build(file), entry(path), entry(path)["shows"][claim], *extra)


@of("impossible")
def test_what_comes_out_is_what_the_reference_says(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, differ, _ = verified(capsys, str(spec_file(path, tmp_path)))
    assert (status, differ) == (0, {})


# --- trained ----------------------------------------------------------------------------------------------------------


@of("trained")
def test_a_run_stops_with_the_reason(path: Path, tmp_path: Path) -> None:
    from gangraph.train.loop import train

    case = entry(path)
    with pytest.raises(gangraph.GangraphError) as error:
        train(spec_file(path, tmp_path), out=tmp_path / "run", quiet=True, **case["train"])
    assert str(error.value).startswith(case["message"])


# --- right designs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_design_gives_no_alarm(path: Path, tmp_path: Path) -> None:
    file = spec_file(path, tmp_path)
    assert problems(file) == []


VERIFIED = [path for path in RIGHT if entry(path).get("verify", True)]


@pytest.mark.parametrize("path", VERIFIED, ids=lambda path: path.stem)
def test_a_right_design_comes_out_right(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, differ, _ = verified(capsys, str(spec_file(path, tmp_path)))
    assert (status, differ) == (0, {})


# --- the page ---------------------------------------------------------------------------------------------------------

HEAD = """# Defects

Bugs that people have reported in GAN code, and what gangraph does with each. Written by `python tests/test_defects.py`
from the files of `tests/defects/`, which `tests/test_defects.py` runs: each has the spec, or the edit of an emitted
program.

| outcome | meaning | files |
|---|---|---|
"""
MEANINGS = {
    "rejected": "`check` refuses the spec",
    "warned": "`check` warns",
    "caught": "`gangraph verify SPEC --program edited.py` finds the edit of an emitted program",
    "impossible": "it cannot be written: what comes out of the spec that people would write is right",
    "trained": "a run stops and says why",
    "missed": "nothing finds it yet",
}


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def without_help(message: str) -> str:
    """A message without its last bracket, which may have others inside, and without the name for `meant`."""
    text = message.split(" [meant: ")[0]
    depth = 0
    for i in range(len(text) - 1, 0, -1):
        depth += {")": 1, "(": -1}.get(text[i], 0)
        if depth == 0:
            return text[:i].rstrip() if text.endswith(")") and text[i - 1] == " " else text
    return text


def fact(case: dict[str, Any]) -> str:
    """What gangraph does, in a cell of the table."""
    from gangraph.verify import PROPERTIES

    if case["outcome"] in ("rejected", "warned"):
        return "; ".join(map(without_help, listed(case["message"])))
    if case["outcome"] == "caught":
        return "; ".join(f"{PROPERTIES[n].split(',')[0]}: {what}" for n, what in case["differs"].items())
    return str(case["why"] if "why" in case else case["message"])


def row(case: dict[str, Any], *more: str) -> str:
    return f"| {' | '.join(map(cell, (case['title'], '; '.join(listed(case['source'])), *more)))} |"


def page() -> str:
    lines = [HEAD.rstrip("\n")]
    grouped = {outcome: [path for path in DEFECTS if entry(path)["outcome"] == outcome] for outcome in OUTCOMES}
    lines += [f"| {outcome} | {MEANINGS[outcome]} | {len(paths)} |" for outcome, paths in grouped.items() if paths]
    for outcome, paths in grouped.items():
        if paths:
            lines += ["", f"## {outcome.capitalize()}", "", "| defect | source | gangraph |", "|---|---|---|"]
            lines += [row(case, fact(case)) for case in map(entry, paths)]
    lines += ["", "## Odd, and right", "", "`check` says nothing of these, and must not.", ""]
    lines += ["| design | source |", "|---|---|"]
    lines += [row(entry(path)) for path in RIGHT]
    return "\n".join(lines) + "\n"


def test_the_page_is_that_of_the_files() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/test_defects.py"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
