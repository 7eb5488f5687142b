"""Every file in tests/invalid is wrong, and carries the messages that it must give: these, and no others.

`# expect: LINE:COLUMN path: message (help)` is a problem as it is printed, without the name of the file; indented
comment lines behind it are its trail. To see what a file gives now: `python -m gangraph check tests/invalid/NAME.yaml`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import gangraph

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "tests" / "invalid").glob("*.yaml"))


def expected(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    marked = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    trails = [line for line in lines if line.startswith("#   ")]
    assert len([line for line in lines if line.startswith("# expect")]) == len(marked), "a marker that is misspelt"
    return marked + trails


def given(path: Path) -> list[str]:
    """The problems of a file, printed; then the trails of all of them."""
    name = path.relative_to(ROOT)
    try:
        problems = gangraph.load(name).warnings
    except gangraph.SpecError as error:
        problems = error.problems
    heads = [str(problem).splitlines()[0].removeprefix(f"{name}:") for problem in problems]
    return heads + [f"#   {line.replace(str(ROOT) + '/', '')}" for problem in problems for line in problem.trail]


def test_the_folder_is_not_empty() -> None:
    assert len(FILES) >= 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wrong_file_gives_its_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert expected(path), "a file without a message"
    assert given(path) == expected(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_message_has_a_place_in_a_line_that_exists(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        problems = gangraph.load(path.relative_to(ROOT)).warnings
    except gangraph.SpecError as error:
        problems = error.problems
    for problem in problems:
        lines = (ROOT / problem.place.file).read_text().splitlines()
        assert 1 <= problem.place.line <= max(1, len(lines))
        assert problem.place.column <= len(lines[problem.place.line - 1]) + 1 if lines else problem.place.column == 1
