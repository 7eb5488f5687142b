"""The documentation is true: its specs load, its Python runs, its tables are those of the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest

import gangraph
from benchmarks.gallery import plans

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("language.md", "tutorial.md", "how-to.md", "compiler.md")
FENCE = re.compile(r"^```(\w*)[ ]?(.*?)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, language: str, mark: str = "") -> list[str]:
    return [body for kind, note, body in FENCE.findall(text_of(page)) if kind == language and mark in note]


def write_specs(page: str, folder: Path) -> None:
    """The specs of a page, as files of their names."""
    for block in blocks(page, "yaml"):
        if name := re.search(r"^name: (\S+)", block, re.MULTILINE):
            (folder / f"{name[1]}.yaml").write_text(block, encoding="utf-8")


SPECS = [(page, i) for page in PAGES if (DOCS / page).is_file() for i in range(len(blocks(page, "yaml")))]
PYTHON = [
    (page, i) for page in PAGES if (DOCS / page).is_file() for i in range(len(blocks(page, "python", "runnable")))
]


def tables() -> Any:
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "number"), SPECS)
def test_a_yaml_block_is_a_spec_or_a_part_of_the_first(page: str, number: int, tmp_path: Path) -> None:
    found = blocks(page, "yaml")
    block = found[number]
    for earlier in found[:number]:  # a page's specs may extend each other
        if name := re.search(r"^name: (\S+)", earlier, re.MULTILINE):
            (tmp_path / f"{name[1]}.yaml").write_text(earlier, encoding="utf-8")
    if not block.startswith("gangraph: 1"):
        (tmp_path / "first.yaml").write_text(found[0], encoding="utf-8")
        block = f"gangraph: 1\nname: part\nextends: first.yaml\n{block}"
    (tmp_path / "spec.yaml").write_text(block, encoding="utf-8")
    spec = gangraph.load(tmp_path / "spec.yaml")
    assert compile(spec.program.source, "program", "exec")


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_a_runnable_block_runs(page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the programs that the page compiles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_specs(page, tmp_path)
    for name, program in re.findall(r"^\$ gangraph compile (\S+) -o (\S+)$", text_of(page), re.MULTILINE):
        (tmp_path / program).write_text(gangraph.load(tmp_path / name).program.source, encoding="utf-8")
    exec(compile(blocks(page, "python", "runnable")[number], f"{page} block {number}", "exec"), {})


def test_exported_weights_are_loaded_as_the_tutorial_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gangraph.train import export_run, train

    (block,) = blocks("tutorial.md", "python", "exported")
    write_specs("tutorial.md", tmp_path)
    train(tmp_path / "mine.yaml", out=tmp_path / "run", iterations=1, quiet=True, diagram=lambda spec: None)
    monkeypatch.chdir(export_run(tmp_path / "run"))
    monkeypatch.syspath_prepend(Path.cwd())
    made: dict[str, Any] = {}
    exec(compile(block, "tutorial.md, exported", "exec"), made)
    assert made["pictures"].shape == (16, 1, 32, 32)


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_a_page_names_commands_that_there_are(page: str) -> None:
    from gangraph.__main__ import app

    for line in re.findall(r"^gangraph (.+)$", "".join(blocks(page, "sh")), re.MULTILINE):
        name, *words = shlex.split(line, comments=True)
        app.commands[name].make_context(name, words)


@pytest.mark.parametrize("name", ["language.md", "README.md"])
def test_the_tables_of_a_page_are_those_of_the_code(name: str) -> None:
    script = tables()
    (file,) = [path for path in script.PAGES if path.name == name]
    page = file.read_text(encoding="utf-8")
    assert script.written(page, script.PAGES[file]()) == page, "run: python docs/tables.py"


def test_every_system_of_the_gallery_is_trained_small_or_it_is_said_why_not() -> None:
    known = plans()
    assert set(known) >= {path.stem for path in (DOCS.parent / "specs").glob("*.yaml")}
    page = (DOCS / "learning.md").read_text(encoding="utf-8")
    for name, plan in known.items():
        assert plan.iterations or plan.note, name
        assert f"| {name} |" in page or f"- `{name}`: {plan.note}" in page, f"run: make gallery, of {name}"
        if plan.iterations:
            spec = plan.load(name)  # its sizes and constants are those of the spec
            assert set(plan.weights) <= set(spec.graph.networks), name
        if plan.after:
            first = known[plan.after].load(plan.after)
            assert set(plan.weights.values()) <= set(first.graph.networks), name


def test_every_picture_and_spec_of_the_readme_is_there() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:src|href)=\"(docs/[^\"]+)\"|\]\(((?:docs|specs)/[^)#]+)\)", readme)
    assert len(named) > 80
    for one, other in named:
        assert (DOCS.parent / (one or other)).exists(), one or other


def test_every_top_level_key_is_explained() -> None:
    from gangraph.spec import FileSpec

    page = (DOCS / "language.md").read_text(encoding="utf-8")
    for key in [*FileSpec.model_fields, "stages"]:
        assert f"`{key}`" in page, key


def test_every_link_between_pages_has_its_end() -> None:
    for page in (*PAGES, "README.md", "../README.md"):
        for target, part in re.findall(r"\]\(([\w./-]+\.\w+)(?:#([\w-]+))?\)", text_of(page)):
            end = (DOCS / page).parent / target
            assert end.exists(), f"{page} -> {target}"
            heads = re.findall(r"^#+ (.*)$", end.read_text(encoding="utf-8"), re.MULTILINE) if part else []
            slugs = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
            assert not part or part in slugs, f"{page} -> {target}#{part}"


def test_the_readme_shows_the_program_of_its_spec(tmp_path: Path) -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = {kind: body for kind, _, body in reversed(FENCE.findall(readme)) if kind in ("yaml", "python")}
    (tmp_path / "cyclegan.yaml").write_text(shown["yaml"], encoding="utf-8")
    source = gangraph.load(tmp_path / "cyclegan.yaml").program.source
    functions = [body.rstrip() for body in re.split(r"^(?=def )", shown["python"], flags=re.MULTILINE) if body]
    assert len(functions) == 3
    for function in functions:
        assert textwrap.indent(function, "    ") + "\n" in source, function.splitlines()[0]


# --- the command line: what stands after `$` is run, what stands below it comes out; `...` stands for anything


PAGES_WITH_COMMANDS = [page for page in PAGES if (DOCS / page).is_file() and blocks(page, "console")]
SED = re.compile(r"sed (-i )?'s/(.*)/(.*)/' (\S+)(?: > (\S+))?")


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_commands_print_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, _, body in FENCE.findall(text_of(page)):
        if kind == "yaml" and (name := re.search(r"^name: (\S+)", body, re.MULTILINE)):
            (tmp_path / f"{name[1]}.yaml").write_text(body, encoding="utf-8")
        for command, expected in re.findall(
            r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body if kind == "console" else "", re.MULTILINE
        ):
            printed = run(command, capsys)
            assert matches(printed, expected), f"$ {command}\n{printed}"


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints, on both streams."""
    from gangraph.__main__ import main

    edit = SED.fullmatch(command)
    if edit is not None:
        _, old, new, source, target = edit.groups()
        text = Path(source).read_text(encoding="utf-8")
        made = re.sub(re.escape(old).replace(r"\.\*", ".*"), lambda _: new, text)
        Path(target or source).write_text(made, encoding="utf-8")
        return ""
    words = command.split()
    assert words[0] == "gangraph"
    with pytest.raises(SystemExit):
        main(words[1:])
    done = capsys.readouterr()
    return done.out + done.err


def matches(printed: str, expected: str) -> bool:
    pattern = r"\s*".join(re.escape(line.strip()).replace(r"\.\.\.", r".*?") for line in expected.splitlines())
    return re.fullmatch(rf"\s*{pattern}\s*", re.sub(r"[ \t]+\n", "\n", printed), re.DOTALL) is not None
