"""The pipeline on one page: read, parse, resolve, infer shapes, route gradients, plan the schedule, emit, load.

>>> spec = load("gan", tiny=True)
>>> print(spec.graph.losses["adv.generator"].type)
scalar
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangraph.check import check
from gangraph.document import Mapping, Scalar, Sequence, Tree, dump
from gangraph.errors import GangraphError, Problem, SpecError
from gangraph.evaluate import Silent
from gangraph.expressions import UNREAD
from gangraph.graph import Graph
from gangraph.infer import infer_shapes
from gangraph.resolve import Resolved, resolve
from gangraph.routing import Routing, route_gradients
from gangraph.schedule import Schedule, plan_schedule
from gangraph.spec import GraphSpec, read_spec
from gangraph.values import known

if TYPE_CHECKING:
    from gangraph.emit import Program
    from gangraph.loader import Compiled


class Spec:
    """A spec that has been read and checked, with the value of every stage. Made by `gangraph.load`.

    `warnings` are the problems that an honest design may have meant, and has not declared under `meant`.
    """

    def __init__(self, parsed: GraphSpec, overrides: dict[str, Any]):
        self.parsed, self.overrides = parsed, overrides
        with _uncollected():
            self._infer()

    def _infer(self) -> None:
        try:
            self.resolved: tuple[Resolved, ...] = resolve(self.parsed, **self.overrides)
            self.graphs: tuple[Graph, ...] = infer_shapes(self.resolved)
        except (SpecError, Silent) as error:
            unread = {problem.path for problem in self.parsed.problems}  # of which no more is said
            found = [p for p in getattr(error, "problems", ()) if p.path not in unread and UNREAD not in p.fact]
            raise SpecError([*self.parsed.problems, *found]) from None
        self.routings: tuple[Routing, ...] = tuple(map(route_gradients, self.graphs))
        self.schedules: tuple[Schedule, ...] = tuple(map(plan_schedule, self.routings))
        problems = check(self.schedules)
        errors = [p for p in problems if p.warning is None]
        if errors:
            raise SpecError(problems)
        self.warnings: tuple[Problem, ...] = tuple(problems)
        self._every = self.schedules

    def __repr__(self) -> str:
        return f"<Spec {self.name}: {', '.join(self.graphs[-1].networks)}>"

    @property
    def name(self) -> str:
        return self.parsed.name

    @property
    def graph(self) -> Graph:
        """The graph of the last stage, which is the whole system."""
        return self.graphs[-1]

    def at(self, number: int) -> Spec:
        """The spec as it is in one stage: those that follow are left out, but for the program, which is that of all."""
        found = copy.copy(self)
        vars(found).pop("diagram", None)
        for key in ("resolved", "graphs", "routings", "schedules"):
            setattr(found, key, getattr(self, key)[: number + 1])
        return found

    @cached_property
    def program(self) -> Program:
        from gangraph.emit import emit

        if self.parsed.file.layers:
            from gangraph.declared import refuted

            problems = refuted(self.graphs)
            if problems:
                raise SpecError(problems)
        return emit(self._every)

    @cached_property
    def text(self) -> str:
        """The spec as one YAML file: parents merged in, sizes and constants as they were set."""
        return dump(self._settled())

    def _settled(self) -> Mapping:
        tree = self.parsed.tree
        entries = dict(tree.entries)
        if self.parsed.stage_trees:
            stages: dict[str, Tree] = {str(key): value for key, value in self.parsed.stage_trees}
            entries["stages"] = Mapping(stages, tree.place)
        tiny = self.overrides.get("tiny")
        for section in ("sizes", "constants"):
            given = {k: Scalar(str(v), tree.place) for k, v in (self.overrides.get(section) or {}).items()}
            light = (
                {str(k): Scalar(str(e), tree.place) for k, e in getattr(self.parsed.file.tiny, section).items()}
                if tiny
                else {}
            )
            own = entries.get(section)
            if (given or light) and isinstance(own, Mapping):
                entries[section] = Mapping({**own.entries, **light, **given}, own.place, own.keys)
        entries.pop("tiny", None)
        batch = Scalar(str(self.resolved[0].batch.now), tree.place)
        train = entries.get("train")
        own_train = train.entries if isinstance(train, Mapping) else {}
        if tiny or self.overrides.get("batch_size"):
            entries["train"] = Mapping({**own_train, "batch": batch}, tree.place)
        return Mapping(entries, tree.place, tree.keys)

    @cached_property
    def hash(self) -> str:
        """A digest of what the spec says: equal for equal fields."""
        import hashlib  # takes longer to load than a small spec to check

        lines = [
            f"{path}={value}"
            for path, value in sorted(self.fields().items())
            if not path.startswith(("paper", "notes"))
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def fields(self) -> dict[str, str]:
        """Every field of the settled spec: path -> text."""
        return dict(_fields(self._settled(), ""))

    @property
    def train(self) -> dict[str, Any]:
        """Defaults of training: batch, iterations | epochs | images, data."""
        resolved = self.resolved[0]
        given = self.parsed.file.train
        light = self.parsed.file.tiny.train if self.overrides.get("tiny") else given
        found: dict[str, Any] = {"batch": resolved.batch.now}
        for key in ("iterations", "epochs", "images"):
            expr = getattr(light, key) or getattr(given, key)
            if expr is not None:
                found[key] = int(known(resolved, expr))
        if light.data or given.data:
            found["data"] = str(light.data or given.data)
        return found

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.graphs))

    # --- in a notebook

    @cached_property
    def diagram(self) -> str:
        """The picture of the game, as SVG."""
        from gangraph.draw import draw

        return draw(self)

    def _repr_html_(self) -> str:
        from gangraph.notebook import as_html

        return as_html(self)

    def _repr_svg_(self) -> str:
        return self.diagram

    def _repr_latex_(self) -> str:
        from gangraph.notebook import as_latex

        return as_latex(self)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk the growing graph again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _fields(tree: Tree, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.entries.items():
            yield from _fields(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, Sequence) and not all(isinstance(i, Scalar) for i in tree.items):
        for i, item in enumerate(tree.items):
            yield from _fields(item, f"{path}[{i}]")
    else:
        yield path, str(tree)


def load(
    source: str | Path | Spec | Compiled,
    sizes: dict[str, Any] | None = None,
    constants: dict[str, Any] | None = None,
    tiny: bool = False,
    library: str | Path | None = None,
    batch_size: int | None = None,
    settled: bool = False,
) -> Spec:
    """Reads and checks a spec: a path, or the name of a system of the gallery; of what is compiled, its spec.

    `sizes` and `constants` override those of the file, `tiny` takes the sizes that it declares for tests, `library`
    is a folder of blocks beside the standard one. A spec that is loaded keeps what was set then and is not set here. A
    file is `settled` if `Spec.text` wrote it: what parents had and nobody reads stands in it too. Raises `SpecError`,
    whose `problems` hold all that is wrong.
    """
    for section, given in (("sizes", sizes), ("constants", constants)):
        if not (given is None or (isinstance(given, dict) and all(isinstance(name, str) for name in given))):
            raise GangraphError(f"{section} is a dict of names and values, not {given!r}")
    overrides: dict[str, Any] = {"sizes": sizes, "constants": constants, "tiny": tiny, "batch_size": batch_size}
    overrides["library"] = Path(library) if library is not None else None
    source = getattr(source, "spec", source)
    if not isinstance(source, str | Path | Spec):
        raise GangraphError(f"a spec is a path, a name of the gallery or what `load` made of one, not {source!r}")
    if isinstance(source, Spec):
        anew = {key: value for key, value in overrides.items() if value}
        for key in anew.keys() & {"sizes", "constants"}:
            anew[key] = {**(source.overrides.get(key) or {}), **anew[key]}
        both = {**source.overrides, **anew}
        return source if both == source.overrides else Spec(source.parsed, both)
    parsed = read_spec(source)
    parsed.sources.settled = settled
    return Spec(parsed, overrides)


def compile(source: str | Path | Spec | Compiled, **overrides: Any) -> Compiled:
    """A spec -> the program, loaded and ready to train (see `gangraph.load` for the arguments). Imports torch."""
    from gangraph.loader import load_program

    return load_program(load(source, **overrides))
