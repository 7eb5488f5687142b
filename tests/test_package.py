"""The package as a stranger gets it: a wheel in an empty environment, and a base install without torch.

Nothing is downloaded. The empty environments see the packages of the present one through a `.pth` file; the `.pth` of
an editable gangraph is not followed from there, so gangraph itself is in an environment only if the wheel is.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gangraph import _paths
from gangraph.spec import schema

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.xdist_group("package")  # one worker builds the wheel, once


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """The standard output of a command run elsewhere, without the repository on the path; it must exit with `code`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# The wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel made from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel."""
    bin_folder = environment(tmp_path_factory.mktemp("installed"))
    pip = [sys.executable, "-m", "pip", "--python", bin_folder / "python", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=wheel.parent)
    return bin_folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with torch and without gangraph."""
    return environment(tmp_path_factory.mktemp("bare"))


def environment(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_carries_templates_specs_and_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "gangraph/py.typed" in names
    for folder in ("codegen", "specs"):
        expected = {f"gangraph/{path.relative_to(ROOT)}" for path in files(ROOT / folder)}
        assert expected, f"{folder} is empty"
        assert expected <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"gangraph"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_source_archive_carries_what_the_wheel_is_made_of(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for folder in ("gangraph", "codegen", "specs", "tests"):
        assert {str(path.relative_to(ROOT)) for path in files(ROOT / folder)} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"} <= names


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    found = run(installed / "python", "-c", "import gangraph; print(gangraph.__file__)", cwd=tmp_path)
    assert Path(found.strip()).is_relative_to(installed.parent)


def test_an_installed_gangraph_finds_its_gallery_and_checks(installed: Path, tmp_path: Path) -> None:
    assert "dcgan" in run(installed / "gangraph", "list", cwd=tmp_path)
    run(installed / "gangraph", "check", "dcgan", cwd=tmp_path)


def test_an_installed_gangraph_compiles_a_program_that_runs_without_it(
    installed: Path, bare: Path, tmp_path: Path
) -> None:
    run(installed / "gangraph", "compile", "dcgan", "--tiny", "-o", "x.py", cwd=tmp_path)
    run(bare / "python", "-c", "import gangraph.__main__", cwd=tmp_path, code=1)
    assert "dcgan" in run(bare / "python", "x.py", cwd=tmp_path).lower()


def test_an_installed_gangraph_writes_a_page(installed: Path, tmp_path: Path) -> None:
    run(installed / "gangraph", "draw", "dcgan", "--tiny", "-o", "x.html", cwd=tmp_path)
    assert "#picture" in (tmp_path / "x.html").read_text(encoding="utf-8")  # its style and script came along


def test_an_installed_gangraph_trains(installed: Path, tmp_path: Path) -> None:
    options = ["--tiny", "--iterations", "2", "--data", "digits", "--out", "run"]
    run(installed / "gangraph", "train", "digits", *options, cwd=tmp_path)
    assert (tmp_path / "run" / "program.py").is_file()
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") >= 1


# The base install

# Runs `python -m gangraph ...` where nothing of the extras can be imported.
WITHOUT_EXTRAS = """
import runpy, sys

EXTRAS = {
    "torch", "numpy", "scipy", "pandas", "sklearn", "skimage", "mlxtend", "matplotlib", "PIL", "datasets",
    "safetensors", "lightning_fabric", "lightning_utilities", "torchmetrics", "tensorboard", "autograd",
    "hypothesis", "pytest",
}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"the base install has no {name}", name=name)

sys.meta_path.insert(0, Refuse())
sys.argv = ["gangraph", *sys.argv[1:]]
runpy.run_module("gangraph", run_name="__main__", alter_sys=True)
"""


def without_extras(cwd: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "check dcgan cyclegan",
        "show stargan-v2",
        "show stargan-v2 --json",
        "show dcgan --after schedule",
        "math cyclegan",
        "math cyclegan --format mathml",
        "schema",
        "view dcgan --no-browser",
        "diff dcgan wgan-gp",
    ],
)
def test_without_torch_a_command_answers(command: str, tmp_path: Path) -> None:
    output = without_extras(tmp_path, *command.split())
    assert output or command.startswith("check")  # `check` is silent where all is well


def test_the_schema_takes_what_the_project_writes_and_refuses_misspelt_keys() -> None:
    read = Draft202012Validator(schema())
    Draft202012Validator.check_schema(schema())

    def plain(file: Path) -> Any:
        return json.loads(json.dumps(YAML(typ="safe").load(file), default=str))

    files = [*_paths.specs().rglob("*.yaml"), *(ROOT / "benchmarks" / "specs").glob("*.yaml")]
    assert len(files) > 60
    for file in files:
        assert not [error.message for error in read.iter_errors(plain(file))], file
    start = {"gangraph": 1, "name": "x"}
    parts = {"D": {"optimizer.F": "SGD(lr=1)", "gradient.F": "clip_norm(1)", "after.F.mix": "clamp(p, 0, 1)"}}
    for good in ({"players": parts}, {"stages": {"s": {"iterations": 3, "draws": {"z": None}}}}, {"inputs": None}):
        assert read.is_valid(start | good), good
    for bad in (
        {"gangraph": 2},
        {"sizs": {}},
        {"players": {"D": {"netwrks": ["D"]}}},
        {"players": {"D": {"parts": {}}}},
        {"schedule": {"D": {"minimze": "a"}}},
        {"stages": {"s": {"iteration": 3}}},
        {"networks": {"G": {"is": "Linear(2)", "mode": "tran"}}},
    ):
        assert not read.is_valid(start | bad), bad
    assert not read.is_valid({"networks": {}}) and not read.is_valid({"name": "x"})


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "dot", "html"])
def test_without_torch_a_picture_is_drawn(suffix: str, tmp_path: Path) -> None:
    without_extras(tmp_path, "draw", "dcgan", "-o", f"x.{suffix}")
    assert (tmp_path / f"x.{suffix}").stat().st_size > 0


def test_without_torch_a_new_spec_is_begun(tmp_path: Path) -> None:
    without_extras(tmp_path, "new", "mine", "--extends", "dcgan")
    (made,) = tmp_path.glob("*.yaml")
    assert "extends: dcgan" in made.read_text()
    without_extras(tmp_path, "check", made.name)


def test_the_base_dependencies_are_without_torch_and_numpy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {entry.partition(">")[0].strip() for entry in project["dependencies"]}
    assert not names & {"torch", "numpy", "lightning-fabric", "datasets"}
