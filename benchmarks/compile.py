"""The compiler's own time: `check` from a cold start, `compile` without torch's import, specs of many values."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gangraph._paths import specs

RUNS = 5

# Runs one command in this process after the imports that are not to be timed, and says how long it took.
TIMED = """
import sys, time
{imports}
from gangraph.__main__ import main
sys.argv = ["gangraph", *sys.argv[1:]]
start = time.perf_counter()
code = 0
try:
    main()
except SystemExit as stop:
    code = stop.code or 0
print(time.perf_counter() - start, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Timing:
    what: str
    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"| {self.what} | {self.middle:.2f} s | {self.least:.2f} to {self.most:.2f} s |"


def measure() -> list[Timing]:
    """Every timing of this file."""
    slowest = slowest_check()
    pairs = [(cold("-m", "gangraph", "check", slowest), cold("-c", "import torch")) for _ in range(RUNS)]
    checks, imports = zip(*pairs, strict=True)
    timings = [
        _timing(f"`gangraph check {slowest}`, a new process, everything included", checks),
        _timing("in turn with it: `import torch`, a new process, which no check does", imports),
    ]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "program.py")
        timings.append(
            _timing(
                f"`gangraph compile {slowest}`, torch already imported",
                [within("import torch", "compile", slowest, "-o", program) for _ in range(RUNS)],
            )
        )
        for count in (10_000, 20_000):
            path = Path(folder) / f"generated_{count}.yaml"
            path.write_text(generated(count))
            timings += [
                _timing(
                    f"{title}, a spec of {count:,} values written out",
                    [within("", *command) for _ in range(RUNS)],
                )
                for title, command in (
                    ("read, planned and checked", ("check", str(path))),
                    ("the same, and its schedule printed", ("show", str(path), "--after", "schedule")),
                )
            ]
    return timings


def slowest_check() -> str:
    """The gallery's system that takes longest to check."""
    names = sorted(path.stem for path in specs().glob("*.yaml"))
    if not names:
        raise SystemExit(f"no specs in {specs()}")
    cold("-m", "gangraph", "check", *names)  # once to write the bytecode
    return max(names, key=lambda name: cold("-m", "gangraph", "check", name))


def cold(*arguments: str) -> float:
    """Seconds of Python with these arguments in a new process."""
    start = time.perf_counter()
    _run([sys.executable, *arguments])
    return time.perf_counter() - start


def within(imports: str, *command: str) -> float:
    """Seconds of a command in a new process, counted from after the imports."""
    return float(_run([sys.executable, "-c", TIMED.format(imports=imports), *command]).split()[-1])


def _run(command: list[str]) -> str:
    """With the modules' bytecode, which an installation writes (or the first run)."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "gangraph-bench-bytecode")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[-4:])} failed:\n{done.stderr}")
    return done.stderr


def _timing(what: str, seconds: Sequence[float]) -> Timing:
    return Timing(what, statistics.median(seconds), min(seconds), max(seconds))


def generated(count: int) -> str:
    """A spec with `count` values in its graph, each made of the one before it and of one half as far."""
    values = "".join(f"  v{i}: 0.5 * v{i - 1} + 0.5 * v{i // 2}\n" for i in range(1, count))
    return f"""\
gangraph: 1
name: generated
inputs: {{x: vector(4)}}
draws:
  z: normal(4)
networks:
  G: Linear(4)
  D: Linear(1)
graph:
  v0: G(z)
{values}losses:
  adv: wasserstein(real=D(x), fake=D(v{count - 1}))
players:
  D: {{networks: [D], optimizer: Adam(lr=1e-3)}}
  G: {{networks: [G], optimizer: Adam(lr=1e-3)}}
schedule:
  D: adv.discriminator
  G: adv.generator
train: {{batch: 4}}
"""


def table(timings: list[Timing]) -> list[str]:
    """The rows of a Markdown table."""
    return ["| what | median | range |", "|---|---|---|", *map(str, timings)]


if __name__ == "__main__":
    print("\n".join(table(measure())))
