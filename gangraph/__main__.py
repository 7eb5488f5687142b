"""The command line: every command reads a spec, asks one stage, and prints; errors are one line each.

Exit codes: 0 good, 1 the spec or the run is wrong (problems on stderr), 2 the command is used wrongly, 128 and the
number of a signal that interrupted training.
"""

from __future__ import annotations

import gc
import io
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gangraph.errors import GangraphError, Place, Problem, SpecError, nearest

if TYPE_CHECKING:
    from gangraph.compiler import Spec


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of this file, not of the alphabet


@click.group(cls=_Commands, epilog="SPEC is a path, or the name of a system of the gallery.")
@click.version_option(package_name="gangraph", message="%(prog)s %(version)s")
def app() -> None:
    """A GAN as one spec file: check it, see it, compile it to PyTorch, train it."""


SPEC = click.argument("source", metavar="SPEC")
SETTINGS = click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="override a size or a constant (repeatable)"
)
TINY = click.option("--tiny", is_flag=True, help="the sizes that the spec declares for tests")
JSON = click.option("--json", "as_json", is_flag=True, help="for a machine to read")
FILE = click.Path(path_type=Path)
OUTPUT = click.option("-o", "--output", type=FILE, required=True, help="the file to write")
RUN = click.argument("run", metavar="RUN", type=FILE)
COUNT = click.IntRange(min=1)
DATA = click.option("--data", metavar="SET", help="others than the run was trained on, or where these are now")
SEED = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)


def read(source: str, settings: Sequence[str] = (), tiny: bool = False, batch_size: int | None = None) -> Spec:
    """A spec with `--set` and `--tiny`; its warnings go to stderr."""
    gc.disable()  # modules and a spec live as long as the command: collecting garbage would only walk them
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # else it reads the metadata of every package, for plugins
    try:
        return _read(source, settings, tiny, batch_size)
    finally:
        gc.freeze()
        gc.enable()


def _read(source: str, settings: Sequence[str], tiny: bool, batch_size: int | None = None) -> Spec:
    """A spec as its files are now."""
    from gangraph.compiler import Spec
    from gangraph.spec import read_spec

    parsed, place = read_spec(source), Place("--set")
    if tiny and not any(tree.get("tiny") for _, tree in parsed.stage_trees) and not parsed.tree.get("tiny"):
        print(f"{parsed.name} has no `tiny`: its own sizes are taken", file=sys.stderr)
    sizes: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not value:
            raise click.BadParameter(f"{setting}: write --set NAME=VALUE")
        known = [*parsed.file.sizes, *parsed.file.constants]
        for _, tree in parsed.stage_trees:
            known += [n for section in ("sizes", "constants") for n in getattr(tree.get(section), "entries", {})]
        if name in sizes or name in constants:
            raise click.BadParameter(f"{name} is set twice")
        if name not in known:
            raise SpecError([Problem(place, name, "not a size or constant of this spec", nearest(name, known))])
        (sizes if name in parsed.file.sizes else constants)[name] = value
    given = {"sizes": sizes, "constants": constants, "tiny": tiny, "batch_size": batch_size}
    return Spec(parsed, {**given, "set_at": place})


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
    from gangraph.files import write as write_file

    write_file(path, text)


@app.command("list")
@JSON
def list_(as_json: bool) -> None:
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
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@SETTINGS
@TINY
@JSON
@click.pass_context
def check(ctx: click.Context, specs: Sequence[str], settings: Sequence[str], tiny: bool, as_json: bool) -> None:
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
        ctx.exit(1)


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
@SPEC
@click.option("--after", metavar="STAGE", help="what a stage of the compiler makes: document, spec, ... program")
@SETTINGS
@TINY
@JSON
def show(source: str, after: str | None, settings: Sequence[str], tiny: bool, as_json: bool) -> None:
    """Networks, shapes, parameters; players; schedule; or the value of any stage."""
    from gangraph.show import STAGES, after_stage, data, overview

    if after is not None and after not in STAGES:
        raise click.BadParameter(f"--after is one of {', '.join(STAGES)}")
    if after is not None and as_json:
        raise click.BadParameter("--json is of the whole spec: leave --after out")
    spec = read(source, settings, tiny)
    warn(spec)
    if as_json:
        print(json.dumps(data(spec), indent=2))
    else:
        print(after_stage(spec, after) if after else overview(spec))


@app.command()
@SPEC
@OUTPUT
@click.option("--view", default="game", show_default=True, help="game, network, schedule or weights")
@click.option("--network", metavar="NAME", help="with --view network: which")
@click.option("--player", metavar="NAME", help="the path of one player's gradient alone")
@click.option("--stage", metavar="NAME", help="another stage than the last")
@click.option("--iterations", type=int, help="with --view schedule: how often each phase runs in so many")
@SETTINGS
@TINY
def draw(
    source: str,
    output: Path,
    view: str,
    network: str | None,
    player: str | None,
    stage: str | None,
    iterations: int | None,
    settings: Sequence[str],
    tiny: bool,
) -> None:
    """The diagram, as .svg .png .pdf .dot or .mmd by suffix; or .html, the interactive page."""
    from gangraph.draw import write as write_drawing

    spec = read(source, settings, tiny)
    warn(spec)
    write_drawing(spec, output, view=view, network=network, player=player, iterations=iterations, stage=stage)


@app.command()
@SPEC
@click.option("--watch", is_flag=True, help="serve it on this machine, and redraw when it is saved")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="with --watch; 0 takes a free one")
@click.option("--browser/--no-browser", default=True, help="open it, or only say where it is")
@SETTINGS
@TINY
def view(source: str, watch: bool, port: int, browser: bool, settings: Sequence[str], tiny: bool) -> None:
    """Opens the interactive page: diagram, details, equations, spec and program side by side."""
    if port and not watch:
        raise click.BadParameter("--port goes with --watch: without it the page is a file")
    if watch:
        from gangraph.page.serve import Watch, serving
        from gangraph.spec import find

        watched = Watch(lambda: _read(source, settings, tiny), find(source))
        with serving(watched, port) as address:
            show_page(address, address, browser)
            watched.follow()
    import tempfile

    from gangraph.page import page

    spec = read(source, settings, tiny)
    warn(spec)
    path = Path(tempfile.mkdtemp(prefix="gangraph-")) / f"{spec.name}.html"
    write(path, page(spec))
    show_page(str(path), path.as_uri(), browser)


@app.command()
@SPEC
@click.option("--format", "format_", default="text", show_default=True, help="text, latex or mathml")
@SETTINGS
@TINY
def math(source: str, format_: str, settings: Sequence[str], tiny: bool) -> None:
    """The objective of every player as the paper would print it."""
    if format_ not in ("text", "latex", "mathml"):
        raise click.BadParameter("--format is text, latex or mathml")
    from gangraph.equations import equations

    spec = read(source, settings, tiny)
    warn(spec)
    print(equations(spec, format_))


@app.command("compile")
@SPEC
@OUTPUT
@SETTINGS
@TINY
def compile_(source: str, output: Path, settings: Sequence[str], tiny: bool) -> None:
    """The emitted program: one file that needs torch and nothing else. `-o -` prints it."""
    from gangraph.spec import find

    spec = read(source, settings, tiny)
    warn(spec)
    if output.exists() and output.samefile(find(source)):
        raise click.BadParameter(f"{output} is the spec itself, and a program would replace it")
    if str(output) == "-":
        print(spec.program.source, end="")
    else:
        write(output, spec.program.source)


@app.command()
@SPEC
@click.option("--data", metavar="SET", help="an embedded set, or a folder of images (of a run that goes on: moved)")
@click.option("--out", metavar="RUN", type=FILE, help="the run's folder (runs/NAME)")
@click.option("--iterations", type=COUNT)
@click.option("--batch-size", type=COUNT)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="0, or that of the run that goes on")
@click.option("--resume", is_flag=True, help="go on from the last checkpoint")
@click.option(
    "--weights",
    metavar="NETWORK=FILE",
    multiple=True,
    help="safetensors of a network, or NETWORK=random (repeatable)",
)
@click.option("--precision", help="32 or bf16-mixed (32, or that of the run that goes on)")
@click.option("--devices", type=COUNT, default=1, show_default=True)
@SETTINGS
@TINY
@click.pass_context
def train(
    ctx: click.Context,
    source: str,
    data: str | None,
    out: Path | None,
    iterations: int | None,
    batch_size: int | None,
    seed: int | None,
    resume: bool,
    weights: Sequence[str],
    precision: str | None,
    devices: int,
    settings: Sequence[str],
    tiny: bool,
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
            raise click.BadParameter(f"{pair}: write --weights NETWORK=FILE")
        files[name] = file
    result = run(
        spec, data=data, out=out, iterations=iterations, batch_size=batch_size, seed=seed, resume=resume,
        weights=files or None, precision=precision, devices=devices,
    )  # fmt: skip
    if result.stopped:
        ctx.exit(128 + result.stopped)
    folder = shlex.quote(str(result.folder))
    print(f"{result.folder} is trained: gangraph sample {folder} -o FILE.png, gangraph evaluate {folder}")


@app.command()
@RUN
@OUTPUT
@click.option("-n", type=COUNT, default=64, show_default=True, help="how many")
@click.option("--view", metavar="NAME", help="which of the spec's views")
@DATA
@SEED
def sample(run: Path, output: Path, n: int, view: str | None, data: str | None, seed: int) -> None:
    """Samples of a run: .png is a grid, .npz one array for each view."""
    needs_torch()
    from gangraph.train import sample_run

    print(sample_run(run, n=n, view=view, out=output, seed=seed, data=data))


@app.command()
@RUN
@click.option("-n", type=COUNT, default=1000, show_default=True, help="over how many samples")
@DATA
@SEED
@JSON
def evaluate(run: Path, n: int, data: str | None, seed: int, as_json: bool) -> None:
    """The metrics that a run's spec defines, of its networks as they are; and figures and alarms of mode collapse."""
    needs_torch()
    from gangraph.train import evaluate_run

    found = evaluate_run(run, n=n, seed=seed, data=data)
    print(json.dumps(found.data(), indent=2) if as_json else found)


@app.command()
@RUN
@click.option("-o", "--output", metavar="FOLDER", type=FILE, help="where to (RUN/export)")
def export(run: Path, output: Path | None) -> None:
    """What a run has learned, to be taken away: its program, and the weights of each network as NAME.safetensors."""
    needs_torch()
    from gangraph.train import export_run

    print(export_run(run, output))


@app.command()
@SPEC
@click.option("--program", metavar="FILE.py", type=FILE, help="a program that was edited; it is run, with your rights")
@click.option("--cases", type=COUNT, default=6, show_default=True, help="how many cases to try of each property")
@SEED
@SETTINGS
@TINY
@click.pass_context
def verify(
    ctx: click.Context,
    source: str,
    program: Path | None,
    cases: int,
    seed: int,
    settings: Sequence[str],
    tiny: bool,
) -> None:
    """Does the compiled program mean the spec? Compares it with an independent reference; exit 1 on any difference."""
    spec = read(source, settings, tiny)
    warn(spec)
    needs_torch("torch", "autograd")
    from gangraph.verify import verify_with_bar

    report = verify_with_bar(spec, cases=cases, seed=seed, program=program)
    print(report)
    if not report.good:
        ctx.exit(1)


@app.command()
@click.argument("a", metavar="SPEC")
@click.argument("b", metavar="SPEC")
@click.option("-o", "--output", type=FILE, help="draw it: .svg .png .pdf .dot or .mmd by suffix")
@JSON
def diff(a: str, b: str, output: Path | None, as_json: bool) -> None:
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
@click.argument("name")
@click.option("--extends", metavar="SPEC", required=True, help="the system to start from")
def new(name: str, extends: str) -> None:
    """A starting file: NAME.yaml is written."""
    from gangraph.gallery import starting_file
    from gangraph.spec import named

    if not named(name):
        raise click.BadParameter(f"'{name}' is no name for a system: letters, digits, - and _")
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
    """Runs a command; whatever a user can mend ends in its message and exit code 1, a wrong command in 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # of a terminal that has no Greek letters, say
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name="gangraph", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except GangraphError as error:
        print(error, file=sys.stderr)
        code = 1
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as error:
        print(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), file=sys.stderr)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
