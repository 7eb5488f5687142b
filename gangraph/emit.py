"""Schedule -> Program: the plan as one file of PyTorch that imports torch and nothing else.

Python decides what is written; `codegen/templates/program.py.jinja` places it. The parts that every program shares
stand in `codegen/runtime/` and `codegen/blocks/` as plain PyTorch and are copied whole, when they are needed.
"""

from __future__ import annotations

import functools
import re
import textwrap
from typing import Any

from gangraph import _paths
from gangraph.code import RESERVED, Code, class_name, fit, identifier, literal, text
from gangraph.expressions import show
from gangraph.frozen import frozen
from gangraph.graph import Graph
from gangraph.initial import from_data, initializers
from gangraph.ir import Node, walk
from gangraph.networks import Classes, init_text, viewed
from gangraph.phases import StageWriter, shown_method
from gangraph.schedule import Schedule, ordered
from gangraph.statements import attribute, game_names
from gangraph.values import known
from gangraph.writer import Writer

_NAME = re.compile(r"def (\w+)")


@frozen
class Program:
    """An emitted program: its text, the name of its class, and the plans that it was written from."""

    name: str
    source: str
    title: str
    schedules: tuple[Schedule, ...]

    def __str__(self) -> str:
        return self.source


def emit(schedules: tuple[Schedule, ...]) -> Program:
    """The program of a spec, of one plan for each stage."""
    return Emitter(schedules).program()


@functools.lru_cache(maxsize=1)
def _template() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(_paths.codegen() / "templates")
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("program.py.jinja")


def _part(folder: str, name: str) -> str:
    """A file of codegen without its imports."""
    lines = (_paths.codegen() / folder / f"{name}.py").read_text(encoding="utf-8").split("\n")
    return "\n".join(line for line in lines if not line.startswith(("import ", "from "))).strip("\n")


class Emitter:
    def __init__(self, schedules: tuple[Schedule, ...]):
        self.schedules = schedules
        self.graphs = tuple(s.graph for s in schedules)
        self.graph = self.graphs[0]
        self.spec = self.graph.resolved.spec
        self.classes = Classes(self.graphs)
        self.staged = len(schedules) > 1
        self.runtime: dict[str, None] = {"draws": None}

    def program(self) -> Program:
        builds = self.builds()
        written = [StageWriter(self, schedule).write() for schedule in self.schedules]
        methods = self._merged(written)
        classes = self.classes.render()
        title = class_name(self.spec.name)
        while title in self.classes.names or title in RESERVED:
            title += "Game"
        body = "\n\n".join([*methods, *classes])
        needs = {"pool": r"self\.pools\[", "view": r"View\(", "reverse": r"reverse\(", "adam": "AdamTF"}
        needs |= {"convolve": r"convolve\(", "number": r"number\("}
        for name, needed in needs.items():
            if re.search(rf"(?<![\w.]){needed}", body):
                self.runtime[name] = None
        if any("keep_statistics" in line for line in builds["lines"]):
            self.runtime["view"] = None
        game = _part("runtime", "game")
        if "pool" not in self.runtime:
            game = "\n".join(line for line in game.split("\n") if "self.pooled()" not in line and "Pool(" not in line)
        parts = [_part("runtime", name) for name in self.runtime] + [game]
        inits, starts = self._inits(), self._from_data()
        methods += starts + self._batch_of()
        begins = any("begin(" in c for c in classes) or any("begin(" in line for line in builds["lines"])
        if inits or starts or begins or "layers_of(" in body:
            parts.insert(0, _part("runtime", "init"))
        random = ["own_draws"] if {"dropout", "noise"} & self.classes.blocks.keys() else []
        blocks = [_part("blocks", name) for name in [*random, *self.classes.blocks]]
        everything = "\n".join([*classes, *blocks, *parts, body])
        source = _template().render(
            doc=self._doc(),
            functional="F." in everything,
            blocks=blocks,
            classes=classes,
            runtime=parts,
            title=title,
            summary=self._summary(),
            attributes=self._attributes(),
            builds=builds,
            inits=inits,
            aliases=self._aliases(),
            tables=self._tables(),
            statics=self._statics("\n".join([everything, *builds["lines"], *inits])),
            methods=methods,
            main=self._main(),
        )
        return Program(self.spec.name, source, title, self.schedules)

    def _merged(self, stages: list[list[str]]) -> list[str]:
        """Methods of all stages: once where all have the same, else one for each stage and one that picks it."""
        named = [{_NAME.search(m).group(1): m for m in methods} for methods in stages]  # type: ignore[union-attr]
        made = []
        for name in dict.fromkeys(name for methods in named for name in methods):
            own = [methods.get(name) for methods in named]
            if len(set(own)) == 1:
                made.append(str(own[0]))
                continue
            for graph, method in zip(self.graphs, own, strict=True):
                if method:
                    made.append(_NAME.sub(rf"def \1_{identifier(graph.resolved.stage)}", method, count=1))
            made.append(self._picker(name, next(filter(None, own)), everywhere=all(own)))
        return made

    def _picker(self, name: str, example: str, everywhere: bool) -> str:
        """The method of the present stage; where that has none, what every game has."""
        arguments = example.split("(", 1)[1].split("):", 1)[0].removeprefix("self").removeprefix(", ")
        head = f"    def {name}(self{', ' + arguments if arguments else ''}):"
        own = f'getattr(self, f"{name}_{{self.stage}}"'
        if everywhere:
            return f"{head}\n        return {own})({arguments})"
        if name in game_names():
            return f"{head}\n        return {own}, super().{name})({arguments})"
        lines = [
            f"own = {own}, None)",
            "if own is None:",
            f'    raise LookupError(f"stage {{self.stage}} has no {name}")',
            f"return own({arguments})",
        ]
        return "\n        ".join([head, *lines])

    # --- texts

    def _doc(self) -> list[str]:
        paper = self.spec.file.paper
        head = self.spec.name + (f": {paper.title}" if paper.title else "")
        authors = " and ".join(filter(None, [", ".join(paper.authors[:-1]), *paper.authors[-1:]]))
        credit = ", ".join(filter(None, [authors, str(paper.venue), str(paper.year)]))
        lines = _wrapped(head, 100)
        if credit:
            lines.append(credit + (f" (arXiv {paper.arxiv})" if paper.arxiv else "") + ".")
        if not lines[0].endswith((".", "?", "!")) and len(lines) == 1:
            lines[0] += "."
        return [_in_quotes(line) for line in lines]

    def _summary(self) -> list[str]:
        """Who owns what and minimizes what, one line a phase; and what nobody trains here."""
        lines = []
        for phase in self.graphs[-1].phases():
            owner = ", ".join(phase.networks) if len(phase.networks) < 9 else phase.player
            verb = "minimizes" if len(phase.networks) == 1 else "minimize"
            lines += _wrapped(f"{phase.name}: {owner} {verb} {phase.text}", 100, "    ")
        external = [name for name, known in self.graph.networks.items() if known.external]
        if external:
            lines += _wrapped(f"{', '.join(external)}: trained elsewhere, load their weights", 100, "    ")
        if self._from_data():
            lines.append("Before the first step: `begin_from(items)`, since something begins at a mean of the data")
        return [_in_quotes(line) for line in lines]

    # --- networks

    def builds(self) -> dict[str, Any]:
        """Construction of every network, what is contained before what contains it."""
        order: list[str] = []

        def visit(name: str) -> None:
            if name in order:
                return
            for inner in self.graph.networks[name].called:
                if inner in self.graph.networks:
                    visit(inner)
            order.append(name)

        codes: dict[str, Code] = {}
        for name in self.graph.networks:
            visit(name)
        for name in order:
            codes[name] = self.classes.network(self.graph.networks[name])
        for graph in self.graphs:
            for module in graph.in_place():
                self.classes.place(module)
        self.classes.render()  # all uses are known, and with them what the classes are given
        lines: list[str] = []
        for name in order:
            lines += fit(f"{identifier(name)} = {self.classes.constructed(codes[name])}", 8)
        entries = []
        for name in self.graph.networks:
            entries.append(f"{literal(name)}: {identifier(name)},")
        for name, label in viewed(self.graphs, "statistics"):
            lines.append(f"        keep_statistics({identifier(name)}, {literal(label)})")
        return {"lines": lines, "entries": entries, "frozen": self._frozen()}

    def _frozen(self) -> list[str]:
        """Networks that nobody trains, in the mode that they keep."""
        kept = {n: k for n, k in self.graph.networks.items() if all(g.networks[n].frozen for g in self.graphs)}
        modes = {n: "" if known.mode == "train" else ".eval()" for n, known in kept.items()}
        return [f"networks[{literal(name)}]{mode}.requires_grad_(False)" for name, mode in modes.items()]

    def _inits(self) -> list[str]:
        """Rules of initialization, from the general to the special."""
        lines = []
        for target, parameter, init in initializers(self.graph):
            lines += fit(f"initialize({target}, {literal(parameter)}, lambda p: {init_text(init)})", 8)
        return lines

    def _from_data(self) -> list[str]:
        """The method that sets what begins at a mean of the data, if anything does."""
        found = from_data(self.graph)
        means = {id(n): n for n in walk([value for *_, value in found]) if n.op == "data_mean"}
        names: dict[tuple[str, int], str] = {}
        for node in means.values():
            source, n = node.fields["input"], node.fields["n"]
            names[source, n] = f"{identifier(source)}_mean" + (f"_{n}" if source in (s for s, _ in names) else "")
        writer = _Means(names)
        lines = [f"{v} = items({literal(source)}, {n}).mean(dim=0)" for (source, n), v in names.items()]
        for target, parameter, value in found:
            made = writer.code(value).plain()
            lines += fit(f"initialize({target}, {literal(parameter)}, lambda p: p.copy_({made}))", 0)
        lines = [
            '"""Before training: what begins at a mean of the data; `items(input, n)` is n items of an input."""',
            "networks = self.networks",
            *lines,
            "self.setup()",
        ]
        return (
            ["\n".join(["    def begin_from(self, items):", *(f"        {line}" for line in lines)])] if found else []
        )

    def _aliases(self) -> list[str]:
        return [f"self.{attribute(name)} = self.networks[{literal(name)}]" for name in self.graph.networks]

    def _statics(self, text: str) -> list[str]:
        """Constants that never change, as attributes of the class: those that the program reads."""
        return [
            f"{attribute(name)} = {literal(node.value)}"
            for name, node in self.graph.constants.items()
            if self.static(name) and re.search(rf"\bself\.{attribute(name)}\b", text)
        ]

    def static(self, name: str) -> bool:
        """Whether a constant is the same number in all stages."""
        values = [g.constants[name].value if name in g.constants else None for g in self.graphs]
        return None not in values and len(set(map(str, values))) == 1

    def _attributes(self) -> list[str]:
        lines = [f"batch_size = {self.graph.resolved.batch.now}", f"plain_inputs = {literal(self._plain())}"]
        if self.staged:
            lines += fit("stages = (" + ", ".join(self._stage(g) for g in self.graphs) + ")", 4)
            lines = [lines[0], lines[1], *(line.removeprefix("    ") for line in lines[2:])]
        return lines

    def _plain(self) -> tuple[str, ...]:
        """The inputs with one sample for each of the batch."""
        return tuple(n for n, node in self.graph.inputs.items() if node.type.samples == self.graph.resolved.batch)

    def _batch_of(self) -> list[str]:
        """The batch size from an input with several samples for each, where none has one."""
        batch = self.graph.resolved.batch.values
        for name, node in self.graph.inputs.items() if not self._plain() else ():
            assert node.type.samples is not None, "an input has samples"
            found = node.type.samples.values
            each = (found[1] - found[0]) // (batch[1] - batch[0])
            more = found[0] - each * batch[0]
            if each > 0 and all(each * n + more == k for n, k in zip(batch, found, strict=True)):
                count = f"len(batch[{literal(name)}])"
                count = f"({count} - {more})" if more else count
                count += f" // {each}" if each > 1 else ""
                return [f"    def batch_of(self, batch):\n        return {count}"]
        return []

    def _tables(self) -> list[str]:
        """The phases of each stage: the player of each, its networks and losses; views and metrics."""
        tables = [self._phases(graph) for graph in self.graphs]
        if len(set(tables)) > 1:
            lines = ["        self.phases_of = {"]
            for graph, table in zip(self.graphs, tables, strict=True):
                lines += fit(f"{literal(identifier(graph.resolved.stage))}: {table},", 12)
            lines.append("        }")
        else:
            lines = fit(f"self.phases = {tables[0]}", 8)
        views = {n: shown_method(graph, n) for graph in self.graphs for n in graph.shown}
        return lines + fit("self.views = {" + ", ".join(f"{literal(k)}: self.{v}" for k, v in views.items()) + "}", 8)

    def _phases(self, graph: Graph) -> str:
        entries = []
        for phase in graph.phases():
            losses = tuple(n.name for n in ordered([phase.objective], graph.order, {}) if n.op == "loss")
            entries.append(f"{literal(phase.name)}: {literal((phase.player, phase.networks, losses))}")
        return "{" + ", ".join(entries) + "}"

    def _stage(self, graph: Graph) -> str:
        keys = graph.resolved.keys
        iterations, images = (
            None if e is None else int(known(graph.resolved, e)) for e in (keys.iterations, keys.images)
        )
        families = graph.resolved.player_families
        reset = tuple(n for text in map(show, keys.reset) for n in families.get(text, {0: text}).values())
        return (
            f"({literal(identifier(graph.resolved.stage))}, {literal(iterations)}, {literal(images)}, {literal(reset)})"
        )

    def _main(self) -> list[str]:
        """What `python program.py` does: one step on random data."""
        entries = []
        for name, node in self.graph.inputs.items():
            samples = (node.type.samples.text if node.type.samples else "1").replace("N", "game.N")
            shape = ", ".join([samples, *map(str, node.type.shape)])
            if node.type.dtype == "int":
                made = f"torch.randint({node.type.classes}, ({shape}{',' if ',' not in shape else ''}))"
            elif node.type.range:
                low, high = node.type.range
                scale = high - low
                made = (
                    f"torch.rand({shape})"
                    + (f" * {literal(scale)}" if scale != 1 else "")
                    + (f" + {literal(low)}" if low > 0 else f" - {literal(-low)}" if low < 0 else "")
                )
            else:
                made = f"torch.randn({shape})"
            entries.append(f"{literal(name)}: {made}")
        return fit("batch = {" + ", ".join(entries) + "}", 4)


class _Means(Writer):
    """A value made of means of the data, which `names` holds by input and number of items."""

    def __init__(self, means: dict[tuple[str, int], str]):
        super().__init__()
        self.means = means

    def leaf(self, node: Node) -> Code:
        return text(self.means[node.fields["input"], node.fields["n"]])

    def dtype(self) -> str:
        return "self.like.dtype"


def _in_quotes(line: str) -> str:
    """A line for the inside of a docstring."""
    return line.replace("\\", "\\\\").replace('"""', "'''")


def _wrapped(line: str, width: int, indent: str = "  ") -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
