"""The command line: every command reads a spec, asks one stage, and prints; errors are one line each.

Exit codes: 0 good, 1 the spec or the run is wrong (problems on stderr), 2 the command is used wrongly.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangraph.errors import GangraphError, Place, Problem, SpecError, nearest

if TYPE_CHECKING:
    from gangraph.compiler import Spec

app = typer.Typer(
    name="gangraph",
    help="A GAN as one spec file: check it, see it, compile it to PyTorch, train it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="a path, or the name of a system of the gallery")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="override a size or a constant (repeatable)")
]
Tiny = Annotated[bool, typer.Option("--tiny", help="the sizes that the spec declares for tests")]
Json = Annotated[bool, typer.Option("--json", help="for a machine to read")]
Output = Annotated[Path, typer.Option("-o", "--output", help="the file to write")]


def read(source: str, settings: list[str] | None = None, tiny: bool = False, batch_size: int | None = None) -> Spec:
    """A spec with `--set` and `--tiny`; its warnings go to stderr."""
    gc.disable()  # modules and a spec live as long as the command: collecting garbage would only walk them
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # else it reads the metadata of every package, for plugins
    try:
        return _read(source, settings or [], tiny, batch_size)
    finally:
        gc.freeze()
        gc.enable()


def _read(source: str, settings: list[str], tiny: bool, batch_size: int | None = None) -> Spec:
    """A spec as its files are now."""
    from gangraph.compiler import Spec
    from gangraph.spec import read_spec

    parsed = read_spec(source)
    sizes: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not value:
            raise typer.BadParameter(f"{setting}: write --set NAME=VALUE")
        known = [*parsed.file.sizes, *parsed.file.constants]
        for _, tree in parsed.stage_trees:
            known += [n for section in ("sizes", "constants") for n in getattr(tree.get(section), "entries", {})]
        if name not in known:
            raise SpecError(
                [Problem(Place("--set"), name, "not a size or constant of this spec", nearest(name, known))]
            )
        (sizes if name in parsed.file.sizes else constants)[name] = value
    return Spec(parsed, {"sizes": sizes, "constants": constants, "tiny": tiny, "batch_size": batch_size})


def warn(spec: Spec) -> None:
    for warning in spec.warnings:
        print(warning, file=sys.stderr)


def show_page(place: str, address: str, browser: bool) -> None:
    """Says where a page is, and opens it."""
    import webbrowser

    print(place, flush=True)
    if browser and not webbrowser.open(address):
        print("no browser was found: open it yourself", file=sys.stderr)


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all; a failure leaves what was there."""
    from gangraph.files import write_text

    write_text(path, text)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The gallery: name, paper, players, one line."""
    from gangraph.gallery import rows

    found = rows()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max(len(r["name"]) for r in found)
    for row in found:
        paper = f"{row['title']} ({row['year']})" if row["year"] else row["title"]
        print(f"{row['name']:<{width}}  {paper}")
        print(f"{'':<{width}}  players: {', '.join(row['players'])}. {row['line']}")


@app.command()
def check(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="paths or names")],
    settings: Settings = [],  # noqa: B006 - typer reads it once
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Every problem and every warning, with its place; nothing else."""
    problems: list[Problem] = []
    for source in specs:
        try:
            problems += read(source, settings, tiny).warnings
        except SpecError as error:
            problems += error.problems
    if as_json:
        print(json.dumps([problem_data(p) for p in problems], indent=2))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
    if any(p.warning is None for p in problems):
        raise typer.Exit(1)


def problem_data(problem: Problem) -> dict[str, Any]:
    place = problem.place
    found = {"file": place.file, "line": place.line, "column": place.column, "path": problem.path}
    return found | {
        "fact": problem.fact,
        "help": problem.help,
        "warning": problem.warning,
        "trail": list(problem.trail),
    }


@app.command()
def show(
    source: SpecArgument,
    after: Annotated[str | None, typer.Option("--after", metavar="STAGE", help="the value of a stage")] = None,
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Networks, shapes, parameters; players; schedule; or the value of any stage."""
    from gangraph.show import STAGES, after_stage, data, overview

    if after is not None and after not in STAGES:
        raise typer.BadParameter(f"--after is one of {', '.join(STAGES)}")
    spec = read(source, settings, tiny)
    warn(spec)
    if as_json:
        print(json.dumps(data(spec), indent=2))
    else:
        print(after_stage(spec, after) if after else overview(spec))


@app.command()
def draw(
    source: SpecArgument,
    output: Output,
    view: Annotated[str, typer.Option("--view", help="game, network, schedule or weights")] = "game",
    network: Annotated[str | None, typer.Option("--network", help="with --view network: which")] = None,
    player: Annotated[str | None, typer.Option("--player", help="the path of one player's gradient alone")] = None,
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
) -> None:
    """The diagram, as .svg .png .pdf .dot or .mmd by suffix; or .html, the interactive page."""
    from gangraph.draw import write as write_drawing

    spec = read(source, settings, tiny)
    warn(spec)
    write_drawing(spec, output, view=view, network=network, player=player)


@app.command()
def view(
    source: SpecArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="serve it on this machine, and redraw when it is saved")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="with --watch; 0 takes a free one")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open it, or only say where it is")] = True,
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
) -> None:
    """Opens the interactive page: diagram, details, equations, spec and program side by side."""
    if port and not watch:
        raise typer.BadParameter("--port goes with --watch: without it the page is a file")
    if watch:
        from gangraph.page.serve import Watch, serving
        from gangraph.spec import find

        watched = Watch(lambda: _read(source, settings, tiny), find(source))
        with serving(watched, port) as address:
            show_page(address, address, browser)
            watched.follow()
    from gangraph.page import page

    spec = read(source, settings, tiny)
    warn(spec)
    path = Path(tempfile.mkdtemp(prefix="gangraph-")) / f"{spec.name}.html"
    write(path, page(spec))
    show_page(str(path), path.as_uri(), browser)


@app.command()
def math(
    source: SpecArgument,
    format_: Annotated[str, typer.Option("--format", help="text, latex or mathml")] = "text",
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
) -> None:
    """The objective of every player as the paper would print it."""
    if format_ not in ("text", "latex", "mathml"):
        raise typer.BadParameter("--format is text, latex or mathml")
    from gangraph.equations import equations

    spec = read(source, settings, tiny)
    warn(spec)
    print(equations(spec, format_))


@app.command("compile")
def compile_(source: SpecArgument, output: Output, settings: Settings = [], tiny: Tiny = False) -> None:  # noqa: B006
    """The emitted program: one file that needs torch and nothing else."""
    spec = read(source, settings, tiny)
    warn(spec)
    write(output, spec.program.source)


@app.command()
def train(
    source: SpecArgument,
    data: Annotated[str | None, typer.Option("--data", help="an embedded set, or a folder of images")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="the run's folder (runs/NAME)")] = None,
    iterations: Annotated[int | None, typer.Option("--iterations", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1)] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
    weights: Annotated[
        list[str],
        typer.Option(
            "--weights", metavar="NETWORK=FILE", help="safetensors of a network, or NETWORK=random (repeatable)"
        ),
    ] = [],  # noqa: B006
    precision: Annotated[str, typer.Option("--precision", help="32 or bf16-mixed")] = "32",
    devices: Annotated[int, typer.Option("--devices", min=1)] = 1,
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
) -> None:
    """Trains; progress bar; under RUN: the resolved spec, the program, the diagram, samples, metrics, checkpoints."""
    spec = read(source, settings, tiny, batch_size)
    warn(spec)
    needs_torch()
    from gangraph.train import train as run

    files = {}
    for pair in weights:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise typer.BadParameter(f"{pair}: write --weights NETWORK=FILE")
        files[name] = file
    run(
        spec, data=data, out=out, iterations=iterations, seed=seed, resume=resume, weights=files or None,
        precision=precision, devices=devices,
    )  # fmt: skip


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")],
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="how many")] = 64,
    view: Annotated[str | None, typer.Option("--view", help="which of the spec's views")] = None,
) -> None:
    """Samples of a run: .png is a grid, .npz one array for each view."""
    needs_torch()
    from gangraph.train import sample_run

    sample_run(run, n=n, view=view, out=output)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")],
    n: Annotated[int, typer.Option("-n", min=1, help="over how many samples")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """The metrics that a run's spec defines, of its networks as they are; and figures and alarms of mode collapse."""
    needs_torch()
    from gangraph.train import evaluate_run

    found = evaluate_run(run, n=n, seed=seed)
    print(json.dumps(found.data(), indent=2) if as_json else found)


@app.command()
def verify(
    source: SpecArgument,
    program: Annotated[
        Path | None,
        typer.Option("--program", metavar="FILE.py", help="a program that was edited; it is run, with your rights"),
    ] = None,
    settings: Settings = [],  # noqa: B006
    tiny: Tiny = False,
    cases: Annotated[int, typer.Option("--cases", min=1, help="how many cases to try of each property")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Does the compiled program mean the spec? Compares it with an independent reference; exit 1 on any difference."""
    spec = read(source, settings, tiny)
    warn(spec)
    needs_torch("torch", "autograd")
    from gangraph.verify import verify_with_bar

    report = verify_with_bar(spec, cases=cases, seed=seed, program=program)
    print(report)
    if not report.good:
        raise typer.Exit(1)


@app.command()
def diff(
    a: SpecArgument,
    b: SpecArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="draw it: .svg .png .pdf .dot or .mmd by suffix")
    ] = None,
    as_json: Json = False,
) -> None:
    """What changed between two specs, as graph and as objective; with -o as a picture."""
    from gangraph.diff import diff as differ

    before, after = read(a), read(b)
    if output is not None:
        from gangraph.draw import write as write_drawing

        write_drawing(after, output, before=before)
        return
    found = differ(before, after)
    print(json.dumps(found.data(), indent=2) if as_json else found)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="the name of the new spec; NAME.yaml is written")],
    extends: Annotated[str, typer.Option("--extends", metavar="SPEC", help="the system to start from")],
) -> None:
    """A starting file."""
    from gangraph.gallery import starting_file

    path = Path(f"{name}.yaml")
    if path.exists():
        raise SpecError([Problem(Place(str(path)), "", "this file exists, and new never overwrites")])
    write(path, starting_file(name, extends))
    print(path)


@app.command()
def schema() -> None:
    """JSON Schema of the file format, for editors."""
    from gangraph.spec import schema as made

    print(json.dumps(made(), indent=2))


def needs_torch(*modules: str) -> None:
    """A clear line where the extra is not installed."""
    import importlib.util

    missing = [m for m in modules or ("torch", "lightning_fabric") if importlib.util.find_spec(m) is None]
    if missing:
        extra = "verify" if "autograd" in modules else "train"
        raise GangraphError(f"this command needs {' and '.join(missing)}: pip install 'gangraph[{extra}]'")


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; whatever a user can mend ends in its message and exit code 1."""
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        code = command(args=arguments, standalone_mode=False)
    except typer.Exit as error:
        code = error.exit_code
    except typer.Abort:
        code = 130
    except GangraphError as error:
        print(error, file=sys.stderr)
        code = 1
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as error:
        print(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "show"):
            raise
        error.show()
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
