"""The folder of a run: what lies where, who may write there, and what a checkpoint must agree with.

RUN/spec.yaml      the resolved spec          RUN/samples/000100.png   samples after 100 iterations
RUN/program.py     the emitted program        RUN/losses.png           the objectives so far
RUN/diagram.svg    its picture                RUN/metrics.jsonl        one line for each logged iteration
RUN/checkpoints/   the last two states        RUN/tensorboard/         the same numbers, where TensorBoard is installed
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gangraph.errors import RunError
from gangraph.files import write
from gangraph.train.checkpoint import Checkpoints, State

SPEC, PROGRAM, DIAGRAM, METRICS, LOSSES = "spec.yaml", "program.py", "diagram.svg", "metrics.jsonl", "losses.png"
LOCK = ".lock"
UNCOMPARED = re.compile(r"(name|paper|notes|train\.(iterations|epochs|images))\b")  # fields that no state depends on


class Run:
    """A run folder. Nothing is written before `begin`."""

    def __init__(self, folder: str | Path, say: Callable[[str], None] = print):
        self.folder = Path(folder)
        self.say = say
        self.checkpoints = Checkpoints(self.folder / "checkpoints", say)
        self._lock: Any = None

    def __str__(self) -> str:
        return str(self.folder)

    def open(self, resume: bool) -> State | None:
        """The state to go on from, or None for a run that begins. Raises `RunError` when the folder is in use."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self} is a file, and a run is a folder")
        try:
            used = self.folder.exists() and any(self.folder.iterdir())
        except OSError as error:
            raise RunError(f"{self} cannot be read: {error.strerror}") from None
        if not resume:
            if used:
                raise RunError(f"{self} is not empty: --resume goes on with that run, --out names another folder")
            return None
        if used and not (self.folder / SPEC).exists():
            raise RunError(f"{self} is not the folder of a run: it has no {SPEC}")
        if used:
            self.lock()
        state = self.checkpoints.latest()
        if state is None:
            self.say(f"{self} has no checkpoint yet: starting from the beginning")
        return state

    def lock(self) -> None:
        """Nobody else trains here while this process does. Raises `RunError` where somebody does."""
        from filelock import FileLock, Timeout

        self._lock = self._lock or FileLock(self.folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self} is being trained by another process") from None
        except OSError as error:
            raise RunError(f"{self} cannot be written: {error.strerror or error}") from None

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.release(force=True)

    def begin(self, gan: Any, diagram: Callable[[Any], str | None]) -> None:
        """Write what is known before the first iteration."""
        self.write(SPEC, gan.spec.text)
        self.lock()
        program = self.folder / PROGRAM
        if program.is_file() and program.read_bytes() != gan.source.encode():
            kept = program.replace(program.with_suffix(".before.py"))
            self.say(f"{program} was another one: it is kept as {kept.name}, and what trains is what the spec says")
        self.write(PROGRAM, gan.source)
        drawn = diagram(gan.spec)
        if drawn is not None:
            self.write(DIAGRAM, drawn)

    def write(self, name: str, data: bytes | str) -> Path:
        write(self.folder / name, data)
        return self.folder / name


class Metrics:
    """`metrics.jsonl`: appended line by line and flushed; when a run goes on, lines after its step are cut off."""

    def __init__(self, path: Path, step: int):
        self.path = path
        self.rows = [row for row in _rows(path) if row["step"] <= step]
        write(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = path.open("a")

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file that are what training wrote; the last one may have been cut by a kill."""
    rows = []
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int) and _plain(row)]


def _plain(row: dict[str, Any]) -> bool:
    """Whether a row has numbers, and alarms by name."""
    alarms = row.get("alarms", [])
    numbers = all(isinstance(value, int | float) for key, value in row.items() if key != "alarms")
    return numbers and isinstance(alarms, list) and all(isinstance(alarm, str) for alarm in alarms)


def check_same_spec(state: State, gan: Any, fact: str) -> None:
    """A checkpoint belongs to the spec it was made from, whatever that is called and however long it is trained.

    Raises `RunError` with the fields that differ, a line each, below the fact.
    """
    found = differences(state["spec"]["fields"], gan.spec.fields())
    if found:
        raise RunError("\n".join([f"{fact}. What differs (then -> now):", *(f"  {line}" for line in found)]))


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """
    >>> differences({"sizes.Z": "64", "train.batch": "8"}, {"sizes.Z": "100", "once": "z"})
    ['once: (absent) -> z', 'sizes.Z: 64 -> 100', 'train.batch: 8 -> (absent)']
    >>> differences({"name": "a", "train.epochs": "8"}, {"name": "b", "notes[0]": "see"})
    []
    """
    changed = sorted(k for k in {*then, *now} if then.get(k) != now.get(k) and not UNCOMPARED.match(k))
    return [f"{k}: {then.get(k, '(absent)')} -> {now.get(k, '(absent)')}" for k in changed]
