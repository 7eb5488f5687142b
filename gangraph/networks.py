"""Modules -> classes: one class a network or block, uses of one block that differ in numbers share a class.

Every module with a body becomes a draft: the lines of its constructor and of its forward, with each literal a slot.
Drafts of equal lines are one class; the slots whose values differ become its parameters. A body that is one value
after another becomes an `nn.Sequential`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gangraph.code import (
    ATOM,
    MODULE,
    RESERVED,
    SUM,
    Code,
    Note,
    Part,
    Slot,
    Use,
    call,
    class_name,
    fit,
    identifier,
    join,
    literal,
    text,
    unique,
    variable,
)
from gangraph.entries import Construct
from gangraph.families import family_of
from gangraph.frozen import frozen
from gangraph.graph import Graph
from gangraph.ir import Module, Network, Node, all_calls, walk
from gangraph.layers import wrap
from gangraph.templates import Init
from gangraph.templates import join as dotted
from gangraph.writer import Writer, shape_comment

CHANNELS = {"in_channels", "out_channels", "num_features", "num_channels", "in_features", "out_features", "num_groups"}
CALLS = ("apply", "call")
DEEPEST = 2  # calls inside one another, in front of a third one


@frozen
class NetworkName:
    """A named network, as the argument of a constructor."""

    name: str

    def __str__(self) -> str:
        return identifier(self.name)


@dataclass
class Draft:
    """A class before its parameters are known. `setup` and the methods are lines of parts."""

    title: str
    setup: list[tuple[Part, ...]] = field(default_factory=list)
    methods: dict[str, tuple[str, list[tuple[Part, ...]]]] = field(default_factory=dict)
    sequential: bool = False

    def slots(self) -> list[Slot]:
        found: list[Slot] = []
        for line in self.lines():
            for part in line:
                if isinstance(part, Slot):
                    found.append(part)
                elif isinstance(part, Use):
                    found += part.slots
        return found

    def notes(self) -> list[str]:
        return [part.text for line in self.lines() for part in line if isinstance(part, Note)]

    def lines(self) -> Iterable[tuple[Part, ...]]:
        yield from self.setup
        for _, body in self.methods.values():
            yield from body

    def key(self) -> Any:
        def skeleton(line: tuple[Part, ...]) -> tuple[Any, ...]:
            kept = (p for p in line if not isinstance(p, Note))
            return tuple(
                ("slot", p.hint, isinstance(p.value, NetworkName))
                if isinstance(p, Slot)
                else ("use", p.group, len(p.slots))
                if isinstance(p, Use)
                else p
                for p in kept
            )

        methods = tuple(
            (name, signature, tuple(map(skeleton, body))) for name, (signature, body) in self.methods.items()
        )
        return self.title, self.sequential, tuple(map(skeleton, self.setup)), methods


class Classes:
    """Every class of a program, in the order in which they are first needed."""

    def __init__(self, graphs: tuple[Graph, ...]):
        self.graphs = graphs
        self.groups: dict[Any, int] = {}
        self.drafts: list[list[Draft]] = []
        self.placed: dict[int, Use] = {}  # of blocks outside of every network, by the id of their module
        self.blocks: dict[str, None] = {}
        self.entries: dict[str, list[str]] = {}  # labels at which some call enters a network
        for network, label in viewed(graphs, "entry"):
            self.entries.setdefault(network, []).append(label)
        self.names: list[str] = []
        self._reserved = {identifier(name) for graph in graphs for name in graph.networks} | RESERVED
        self._taken = set(self._reserved)
        self._random: dict[int, bool] = {}
        self.variants: dict[int, str] = {}  # id of a module with a forward of its own -> its method

    # --- collecting

    def network(self, network: Network) -> Code:
        """The construction of a named network: a class's, or of a single layer."""
        modules = list(dict.fromkeys(network.variants.values()))
        first = modules[0]
        if len(first.children) == 1 and first.children[0].path == "" and first.children[0].layer is not None:
            return self.layer(first.children[0])
        drafts = [self.draft(m, network.name) for m in modules]
        if any(d.key() != drafts[0].key() for d in drafts):
            drafts = [_Drafter(self, m, network.name).draft(sequence=False) for m in modules]
        main = drafts[0]
        texts = {str(main.methods["forward"]): "forward"} if "forward" in main.methods else {}
        for module, draft in zip(modules[1:], drafts[1:], strict=True):
            if draft.key() == main.key() or draft.sequential:
                self.variants[id(module)] = "forward"
                continue
            shown = str(draft.methods["forward"])
            if shown not in texts:
                texts[shown] = f"forward_{len(texts) + 1}"
                main.methods[texts[shown]] = draft.methods["forward"]
                known = {str(line) for line in main.setup}
                main.setup += [line for line in draft.setup if str(line) not in known]
            self.variants[id(module)] = texts[shown]
        return Code((self.use(main),))

    def random(self, module: Module) -> bool:
        """Whether a call of a module makes draws: in its own layers, or in those of networks that it calls."""
        if id(module) not in self._random:
            graph = self.graphs[0]
            inner = {name for called in all_calls(module) for name in graph.contained(called)}
            self._random[id(module)] = module.random or any(
                m.random for n in inner for m in graph.networks[n].variants.values()
            )
        return self._random[id(module)]

    def method(self, module: Module) -> str:
        return self.variants.get(id(module), "forward")

    def use(self, draft: Draft) -> Use:
        key = draft.key()
        if key not in self.groups:
            self.groups[key] = len(self.drafts)
            self.drafts.append([])
            self.names.append(self._name(draft.title))
        group = self.groups[key]
        self.drafts[group].append(draft)
        return Use(group, tuple(draft.slots()))

    def _name(self, title: str) -> str:
        wanted = class_name(title) + ("Network" if class_name(title) in self._reserved else "")
        name = unique(wanted, self._taken)
        self._taken.add(name)
        return name

    def layer(self, module: Module) -> Code:
        assert module.layer is not None
        construct = wrap(module.layer, module.wrappers, module.shape)
        made = construct_code(construct)
        self.blocks |= dict.fromkeys(construct.blocks())
        begins = {}
        for name in ("weight", "bias", "init"):
            init = getattr(module.layer, name, None)
            if isinstance(init, Init):
                begins["weight" if name == "init" else name] = init
        if begins:
            rules = [f"{name}=lambda p: {init_text(init)}" for name, init in begins.items()]
            return Code(("begin(", *made.parts, ", ", ", ".join(rules), ")"))
        return made

    def draft(self, module: Module, network: str) -> Draft:
        return _Drafter(self, module, network).draft()

    def place(self, module: Module) -> Use:
        """The use of a block outside of every network."""
        if id(module) not in self.placed:
            self.placed[id(module)] = self.use(self.draft(module, ""))
        return self.placed[id(module)]

    # --- writing

    def render(self) -> list[str]:
        """The text of every class."""
        self.parameters = [self._parameters(group) for group in self.drafts]
        return [self._class(i) for i in range(len(self.drafts))]

    def _parameters(self, drafts: list[Draft]) -> list[tuple[str, list[int]]]:
        """Parameters of a class: a name, and the slots that it fills; slots that always agree are one parameter."""
        columns = list(zip(*(tuple(_key(s.value) for s in d.slots()) for d in drafts), strict=True))
        hints = [s.hint for s in drafts[0].slots()]
        networks = [isinstance(s.value, NetworkName) for s in drafts[0].slots()]
        merged: dict[Any, list[int]] = {}
        for i, column in enumerate(columns):
            if networks[i] or len(set(column)) > 1:
                merged.setdefault(column, []).append(i)
        found: list[tuple[str, list[int]]] = []
        taken: set[str] = set()
        for slots in merged.values():
            wanted = [hints[i] for i in slots]
            name = wanted[0] if len(set(wanted)) == 1 or not set(wanted) <= CHANNELS else "channels"
            name = identifier(name, taken | {"self"})
            if name.rstrip("_") != name and name.rstrip("_") in taken:
                name = unique(name.rstrip("_"), taken, "_")
            taken.add(name)
            found.append((name, slots))
        return found

    def _class(self, group: int) -> str:
        draft = self.drafts[group][0]
        parameters = self.parameters[group]
        names = {i: name for name, slots in parameters for i in slots}
        counter = itertools.count()
        columns = zip(*(d.notes() for d in self.drafts[group]), strict=True)
        notes = iter([column[0] if len(set(column)) == 1 else "" for column in columns])

        def line(parts: tuple[Part, ...]) -> str:
            return "".join(next(notes) if isinstance(p, Note) else self._part(p, counter, names) for p in parts)

        base = "nn.Sequential" if draft.sequential else "nn.Module"
        lines = [f"class {self.names[group]}({base}):"]
        lines += fit(f"def __init__({', '.join(['self', *(name for name, _ in parameters)])}):", 4)
        setup = [line(parts) for parts in draft.setup]
        early = sum(len(p.slots) if isinstance(p, Use) else isinstance(p, Slot) for parts in draft.setup for p in parts)
        kept = [name for name, slots in parameters if max(slots) >= early]  # those that a method reads
        if draft.sequential:
            lines += ["        super().__init__(", *(part for item in setup for part in fit(item, 12)), "        )"]
        else:
            lines += ["        super().__init__()", *(f"        self.{name} = {name}" for name in kept)]
            names |= {i: f"self.{names[i]}" for i in names if i >= early}
            for item in setup:
                for part in item.split("\n"):
                    lines += fit(part.strip(), 8 + len(part) - len(part.lstrip()))
        for name, (signature, body) in draft.methods.items():
            lines += ["", *fit(f"def {name}({signature}):", 4)]
            for parts in body:
                lines += fit(line(parts), 8)
        return "\n".join(lines)

    def _part(self, part: Part, counter: Any, names: dict[int, str]) -> str:
        if isinstance(part, str | Note):
            return part if isinstance(part, str) else ""
        if isinstance(part, Slot):
            i = next(counter)
            return names.get(i) or _shown(part.value)
        start = [next(counter) for _ in part.slots]
        return f"{self.names[part.group]}({', '.join(self._given(part, start, names))})"

    def _given(self, use: Use, numbers: list[int], names: dict[int, str]) -> list[str]:
        return [
            names.get(numbers[slots[0]]) or _shown(use.slots[slots[0]].value) for _, slots in self.parameters[use.group]
        ]

    def constructed(self, code: Code) -> str:
        """The construction of a network, in the program."""
        counter = itertools.count()
        return "".join(self._part(p, counter, {}) for p in code.parts)


def _key(value: Any) -> Any:
    return (type(value).__name__, str(value))


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, NetworkName) else literal(value)


def construct_code(construct: Construct) -> Code:
    """A layer's constructor."""
    return call(construct.function, *argument_codes(construct))


def argument_codes(construct: Construct) -> list[Code]:
    """What a constructor is given; each argument's value is a slot."""
    made = []
    for name, value, positional in construct.arguments:
        code = construct_code(value) if isinstance(value, Construct) else Code((Slot(name, value),))
        made.append(code if positional else text(f"{name}=") + code)
    return made


# What torch.nn.init calls the arguments of an initializer; "" where it is given by position.
INIT_NAMES = {
    "uniform": {"low": "a", "high": "b"},
    "constant": {"value": ""},
    "kaiming_normal": {"slope": "a"},
    "kaiming_uniform": {"slope": "a"},
}


def init_text(init: Init) -> str:
    """An initializer as a call of torch.nn.init on `p`."""
    name, arguments, scale = init.name, dict(init.arguments), init.scale
    shown = ["p"]
    if name == "fan_uniform":
        name, shown, factors = "kaiming_uniform", ["p", 'nonlinearity="linear"'], [arguments.pop("gain"), scale]
    else:
        factors = [scale]
    for key, value in arguments.items():
        word = INIT_NAMES.get(name, {}).get(key, key)
        if not (key == "slope" and value == 0):
            shown.append(f"{word}={literal(value)}" if word else literal(value))
    return f"nn.init.{name}_({', '.join(shown)})" + "".join(f".mul_({literal(f)})" for f in factors if f != 1)


def viewed(graphs: tuple[Graph, ...], option: str) -> list[tuple[str, str]]:
    """The networks that some call views with an option, `statistics` or `entry` (`upto`), and what it says."""
    calls = (node.fields for graph in graphs for node in graph.calls())
    return list(dict.fromkeys((f["source"], f["view"][option]) for f in calls if option in f["view"]))


class _Drafter(Writer):
    """Drafts the class of one module with a body."""

    def __init__(self, classes: Classes, module: Module, network: str, prefix: str = ""):
        super().__init__()
        self.classes, self.module, self.network, self.prefix = classes, module, network, prefix
        self.attributes: set[str] = set()
        self.setup: list[tuple[int, tuple[Part, ...]]] = []  # with the place among the parts of the module
        self.made: dict[int, str] = {}  # id of an apply node (or of a run's last) -> attribute
        self.free: dict[str, Node] = {}
        self.done: list[Module] = []
        self.passing = ""  # the latest variable of a value between two calls

    def draft(self, sequence: bool = True) -> Draft:
        module = self.module
        entries = [
            e for e in self._entries() if e in module.labels or any(e.startswith(f"{c.path}.") for c in module.children)
        ]
        items = None if entries or not sequence else self.sequence(module)
        if items is not None:
            return Draft(
                _kind(module), [(*code.parts, ",", _note(shape)) for code, shape in _folded(items)], sequential=True
            )
        inputs = self._inputs()
        body = self._forward(walk(list(module.outputs)), module.outputs)
        self._unread()
        signature = ", ".join(["self", *inputs, *self.free, *(["draws=OWN"] if self.classes.random(module) else [])])
        self.setup.sort(key=lambda item: item[0])
        draft = Draft(_kind(module), [line for _, line in self.setup], {"forward": (signature, body)})
        for entry in entries:
            self._reset()
            label = module.labels.get(entry)
            if label is None:
                continue
            lines = self._forward(walk([label]), [label])
            draft.methods[entry_method(entry)] = (signature, lines)
        return draft

    def _entries(self) -> list[str]:
        mine = self.classes.entries.get(self.network, ())
        if not self.prefix:
            return list(mine)
        return [e[len(self.prefix) + 1 :] for e in mine if e.startswith(f"{self.prefix}.")]

    def _reset(self) -> None:
        """Ready to write another method over the same attributes."""
        self.names, self.passing = {}, ""
        self._inputs()

    def _inputs(self) -> list[str]:
        """Variables for the inputs; a list of inputs is one variable."""
        names: list[str] = []
        for entry in self.module.inputs:
            base, bracket, rest = (entry.name or "x").partition("[")
            variable = identifier(base)
            self.names[id(entry)] = variable + bracket + rest
            if variable not in names:
                names.append(variable)
        return names

    # --- sequences

    def sequence(self, module: Module) -> list[tuple[Code, str]] | None:
        """The items of a module that is one value after another, else None."""
        if module.several or len(module.inputs) != 1 or len(module.outputs) != 1 or self.classes.random(module):
            return None
        found: list[tuple[Code, str]] = []
        chained: list[Node] = []
        node = module.outputs[0]
        entry = module.inputs[0]
        while node is not entry:
            items = self._item(node)
            if items is None or len(node.args) != 1 or node.args[0].type.host:
                return None
            found = items + found
            chained += [node] if node.op in ("apply", "call") else []
            node = node.args[0]
        uses = Counter(id(a) for n in walk(module.outputs) for a in n.args)
        inner = module.outputs[0].args[0] if module.outputs[0] is not entry else entry
        while inner is not entry and inner.args:
            if uses[id(inner)] > 1:
                return None
            inner = inner.args[0]
        covered = len(chained) == len(module.parts)  # else something that no output reads holds parameters
        return found if found and covered and uses[id(entry)] == 1 else None

    def _item(self, node: Node) -> list[tuple[Code, str]] | None:
        """One element of a sequence (or several, of a block that is one), with the shape that comes out."""
        shape = shape_comment(node.type.shape, None)
        if node.op == "apply" and not node.fields.get("several"):
            module: Module = node.fields["module"]
            if self.classes.random(module):
                return None
            if module.layer is not None:
                changes = node.type.shape != (node.args[0].type.shape if node.args else ())
                return [(self.classes.layer(module), shape if changes else "")]
            if len(module.inputs) != 1 or module.several:
                return None
            if module.labels and self.classes.entries.get(self.network):
                return None
            inner = _Drafter(self.classes, module, self.network, dotted(self.prefix, module.path))
            items = inner.sequence(module)
            if items is not None:
                return items
            draft = self.classes.draft(module, self.network) if not self._entries() else inner.draft()
            if inner.free or _free(module):
                return None
            return [(Code((self.classes.use(draft),)), shape if node.type.shape != node.args[0].type.shape else "")]
        if (
            node.op == "call"
            and not node.fields["view"]
            and not node.fields.get("several")
            and not self.classes.random(node.fields["module"])
        ):
            return [(Code((Slot(identifier(node.fields["network"]), NetworkName(node.fields["network"])),)), "")]
        if node.op == "reshape" and node.args[0].type.rank == 1 and node.type.samples is not None:
            sizes = join(", ", [Code((Slot("size", n),)) for n in node.fields["shape"]])
            end = ",))" if len(node.fields["shape"]) == 1 else "))"
            return [(Code(("nn.Unflatten(1, (", *sizes.parts, end)), shape)]
        return None

    # --- graphs

    def _forward(self, nodes: list[Node], outputs: list[Node]) -> list[tuple[Part, ...]]:
        """Statements of a forward; runs of single values become attributes that hold a sequence."""
        uses = Counter(map(id, (*(a for node in nodes for a in node.args), *outputs)))
        inside: set[int] = set()
        runs: dict[int, list[Node]] = {}
        for node in reversed(nodes):
            if id(node) in inside or not self._runs(node):
                continue
            run = [node]
            while True:
                before = run[0].args[0] if len(run[0].args) == 1 else None
                if before is None or not self._runs(before) or uses[id(before)] > 1 or self._labelled(before):
                    break
                if not self._adjacent(before, run[0]):
                    break
                run.insert(0, before)
            if len(run) == 1 and run[0].op != "apply":
                continue
            runs[id(node)] = run
            inside |= {id(n) for n in run[:-1]}
        lines: list[tuple[Part, ...]] = []
        taken = set(self.names.values()) | {family_of(n) for n in self.names.values()}
        depths: dict[int, int] = {}  # of calls inside one another
        called: set[int] = set()  # what another call takes
        for node in reversed(nodes):
            if node.op in CALLS or (id(node) in called and node.name is None):
                called |= {id(argument) for argument in node.args}
        for node in nodes:
            if id(node) in inside or id(node) in self.names:
                continue
            if id(node) in runs:
                self._attribute(node, runs[id(node)])
            elif node.op == "apply":
                self._attribute(node, [node])
            elif node.op == "call":
                self._hold_network(node.fields["network"], self._place(node))
            keep = uses[id(node)] > 1 or (node.name is not None and node.op not in ("output", "alias", "input"))
            if node.op == "output":
                self._outputs(node)
                continue
            if node.type.host or node.op in ("parameter",):
                continue
            several = node.fields.get("several") or node.op == "chunk"
            if several or (keep and node not in outputs) or (node in outputs and uses[id(node)] > 1):
                self._assign(node, nodes, lines, taken)
                continue
            taking = self._run_of(node)[0].args if id(node) in runs else node.args
            depth = max((depths.get(id(a), 0) for a in taking if id(a) not in self.names), default=0)
            depths[id(node)] = depth = depth + (node.op in CALLS)
            if depth == DEEPEST and node.op in CALLS and id(node) in called:
                code = self.write(node)
                self.passing = self.names[id(node)] = self._again(None, node, taken)
                lines.append((f"{self.passing} = ", *code.parts))
        several = self.module.several and outputs is self.module.outputs  # a prefix (`upto`) has one value
        if len(outputs) == 1 and not several:
            lines.append(("return ", *self.code(outputs[0]).parts))
        else:
            listed = join(", ", [self.code(output) for output in outputs]).parts
            lines.append(("return ", *listed, *[","] * (len(outputs) == 1)))
        return lines

    def _again(self, wish: str | None, node: Node, taken: set[str]) -> str:
        """A variable for a value, with or without a wish: that of a value between two calls of which it is made."""
        known = self.passing
        made_of_it = known and any(self.names.get(id(n)) == known for n in walk([node], self.names.keys()))
        return known if made_of_it and wish in (None, known) else self._variable(wish or "h", taken)

    def _assign(self, node: Node, nodes: list[Node], lines: list[tuple[Part, ...]], taken: set[str]) -> None:
        code = self.write(node)
        if node.fields.get("several") or node.op == "chunk":
            parts = {n.fields["index"]: n for n in nodes if n.op == "output" and n.args[0] is node}
            count = node.fields["n"] if node.op == "chunk" else len(node.fields["module"].outputs)
            named = all(parts.get(i) is not None and parts[i].name for i in range(count)) and count <= 4
            if named:
                variables = [self._variable(parts[i].name or "", taken) for i in range(count)]
                for i, variable in enumerate(variables):
                    self.names[id(parts[i])] = variable
                lines.append((", ".join(variables), " = ", *code.parts))
                return
            if len(parts) == 1:
                return
            variable = self._variable(node.name or family_of(next(iter(parts.values())).name or "parts"), taken)
        else:
            variable, self.passing = self._again(node.name or "h", node, taken), ""
        self.names[id(node)] = variable
        lines.append((f"{variable} = ", *code.parts))

    def _variable(self, name: str, taken: set[str]) -> str:
        made = variable(name, taken)
        taken.add(made)
        return made

    def _outputs(self, node: Node) -> None:
        if id(node) not in self.names and id(node.args[0]) in self.names and node.name is None:
            self.names[id(node)] = f"{self.names[id(node.args[0])]}[{node.fields['index']}]"

    def _runs(self, node: Node) -> bool:
        """Whether a node can be an element of a sequence."""
        if node.op == "apply":
            module: Module = node.fields["module"]
            one = len(node.args) == 1 and not node.fields.get("several") and not self.classes.random(module)
            return one and not _free(module) and (module.layer is not None or len(module.inputs) == 1)
        if node.op == "reshape":
            return node.args[0].type.rank == 1 and node.type.samples is not None
        return False

    def _adjacent(self, first: Node, second: Node) -> bool:
        """Whether nothing was expanded between two modules, so that one sequence keeps the order of parameters."""
        places = [self._place(n) for n in (first, second)]
        return -1 in places or places[1] == places[0] + 1

    def _labelled(self, node: Node) -> bool:
        entries = self._entries()
        return any(self.module.labels.get(e) is node for e in entries)

    def _attribute(self, node: Node, run: list[Node]) -> None:
        """The module that a run of nodes becomes, under a name of its own."""
        if id(node) in self.made:
            return
        name = self._attribute_name(run)
        self.made[id(node)] = name
        self.done += [n.fields["module"] for n in run if n.op == "apply"]
        if len(run) == 1:
            code = self._constructed(node.fields["module"])
        else:
            items = [item for n in run for item in self._item(n) or []]
            code = _sequential(items)
        self.setup.append((self._place(run[0]), (f"self.{name} = ", *code.parts)))

    def _constructed(self, module: Module) -> Code:
        """The construction of one module: a layer, a short sequence in place, or a block's class."""
        if module.layer is not None:
            return self.classes.layer(module)
        draft = _Drafter(self.classes, module, self.network, dotted(self.prefix, module.path)).draft()
        short = draft.sequential and len(draft.setup) <= 4
        if short and not any(isinstance(p, Use) for line in draft.setup for p in line):
            return _sequential([(Code(line[:-2]), line[-1].text) for line in draft.setup if isinstance(line[-1], Note)])
        return Code((self.classes.use(draft),))

    def _place(self, node: Node) -> int:
        """Where a node's module stands among the parts of this one."""
        if node.op == "call":
            return int(node.fields["position"])
        module = node.fields.get("module")
        return next((i for i, part in enumerate(self.module.parts) if part is module), -1)

    def _unread(self) -> None:
        """Modules that no output reads, and networks called there, hold parameters all the same."""
        for place, part in enumerate(self.module.parts):
            if isinstance(part, str):
                self._hold_network(part, place)
            elif not any(part is module for module in self.done):
                name = self._free_attribute(part.path.split(".")[0] if not part.path[:1].isdigit() else "unread")
                self.setup.append((place, (f"self.{name} = ", *self._constructed(part).parts)))

    def _attribute_name(self, run: list[Node]) -> str:
        last = run[-1]
        module = last.fields.get("module")
        label = next((lab for lab, n in self.module.labels.items() if n is last), None)
        value = last.name or (label or "").split(".")[-1]
        if not value:
            path = run[0].fields.get("path", "").split(".")
            head = path[0] if path and not path[0].isdigit() else ""
            if head:
                value = head
            elif len(run) > 1:
                value = "layers"
            else:
                title = module.title if module is not None else "layer"
                value = _snake(title)
        return self._free_attribute(value)

    def _free_attribute(self, value: str) -> str:
        made = unique(identifier(value, MODULE), self.attributes, "_")
        self.attributes.add(made)
        return made

    def _hold_network(self, network: str, place: int) -> None:
        name = identifier(network, MODULE)
        if name not in self.attributes:
            self.attributes.add(name)
            self.setup.append((place, (f"self.{name} = ", Slot(identifier(network), NetworkName(network)))))

    # --- the writer's hooks

    def applied(self, node: Node) -> Code:
        module: Module = node.fields["module"]
        if node.op == "call":
            attribute = identifier(node.fields["network"], MODULE)
            arguments = call_arguments(self, node)
            if self.classes.random(module):
                arguments.append(text(f'draws.call("{node.fields["network"]}")'))
            target = f"self.{attribute}"
            if node.fields["view"]:
                target = view_text(target, node.fields["view"])
            return call(target, *arguments)
        attribute = self.made[id(node)]
        arguments = call_arguments(self, self._run_of(node)[0])
        if self.classes.random(module):
            arguments.append(text(f'draws.at("{node.fields["path"]}")') if node.fields["path"] else text("draws"))
        return call(f"self.{attribute}", *arguments)

    def _run_of(self, node: Node) -> list[Node]:
        """The run that ends at a node: back to the first that has no attribute of its own."""
        run = [node]
        while len(run[0].args) == 1 and self._runs(run[0]):
            before = run[0].args[0]
            if id(before) in self.made or id(before) in self.names or not self._runs(before):
                break
            run.insert(0, before)
        return run

    def _reshape(self, node: Node) -> Code:
        if id(node) in self.made:
            run = self._run_of(node)
            return call(f"self.{self.made[id(node)]}", *call_arguments(self, run[0]))
        return super()._reshape(node)

    def leaf(self, node: Node) -> Code:
        if node.op == "constant" and node.value is not None:
            return Code((literal(node.value),), ATOM if node.value >= 0 else ATOM - 2)
        if node.type.host and node.name:
            variable = identifier(node.name)
            self.free.setdefault(variable, node)
            return text(variable)
        raise AssertionError(f"{node} in the body of {self.module.title}")

    def whole(self, value: float | int, hint: str) -> Code:
        return Code((Slot(hint, value),))

    def zeros(self, node: Node) -> Code:
        like = next(iter(self.names.values()))
        fill = "zeros" if node.op == "zeros" else "ones"
        return text(f"{like}.new_{fill}({', '.join(map(str, node.type.shape))})")

    def dtype(self) -> str:
        real = [e for e in self.module.inputs if e.type.dtype == "float" and not e.type.host]
        if real:
            return f"{self.names[id(real[0])]}.dtype"
        held = any(True for _ in self.module.own_parameters(""))
        return "next(self.parameters()).dtype" if held else "torch.get_default_dtype()"

    def samples(self, length: str) -> Code:
        first = next(e for e in self.module.inputs if e.type.samples is not None)
        return text(length.replace("N", f"len({self.names[id(first)]})"), ATOM if length.isalnum() else SUM)


def call_arguments(writer: Writer, node: Node) -> list[Code]:
    """The arguments of a call; inputs that are lists come as lists, free numbers by name."""
    module: Module | None = node.fields.get("module")
    if module is None or module.layer is not None:
        return [writer.code(a) for a in node.args]
    found: list[Code | str] = []  # a text is the name of a list of inputs
    lists: dict[str, list[Code]] = {}
    for entry, argument in zip(module.inputs, node.args, strict="given" not in node.fields):
        base, bracket, _ = (entry.name or "").partition("[")
        if not bracket:
            found.append(writer.code(argument))
            continue
        if base not in lists:
            lists[base] = []
            found.append(base)
        lists[base].append(writer.code(argument))
    made = [_listed(lists[c]) if isinstance(c, str) else c for c in found]
    return made + [text(f"{name}=") + writer.code(free) for name, free in _free(module).items()]


def _listed(codes: list[Code]) -> Code:
    return Code(("[", *join(", ", codes).parts, "]"))


def view_text(target: str, view: dict[str, Any], method: str = "forward", given: str = "") -> str:
    """A network called in another way, by the method of its structure; `given` is the list that takes the place of its
    parameters, as text.
    """
    options = {k: (entry_method(v) if k == "entry" else v) for k, v in view.items() if not (given and k == "frozen")}
    if method != "forward":
        options.setdefault("entry", method)
    texts = [*([f"given={given}"] if given else []), *(f"{k}={literal(v)}" for k, v in options.items())]
    return f"View({', '.join([target, *texts])})"


def entry_method(label: str) -> str:
    return f"upto_{identifier(label)}"


def _free(module: Module) -> dict[str, Node]:
    """Numbers of the program that a body reads: clocks, and constants that follow them."""
    found: dict[str, Node] = {}
    for node in walk(list(module.outputs)):
        if node.type.host and node.op in ("constant", "clock", "state") and node.value is None and node.name:
            found[identifier(node.name)] = node
        if node.op == "apply" and node.fields["module"].layer is None:
            found |= _free(node.fields["module"])
    return found


def _folded(items: list[tuple[Code, str]]) -> list[tuple[Code, str]]:
    """Equal items in a row are written once."""
    found: list[tuple[Code, str]] = []
    for parts, group in itertools.groupby(items, key=lambda item: item[0].parts):
        same = list(group)
        if len(same) > 1 and any(isinstance(p, Use) for p in parts):
            found.append((Code(("*(", *parts, f" for _ in range({len(same)}))")), same[-1][1]))
        else:
            found += same
    return found


def _sequential(items: list[tuple[Code, str]]) -> Code:
    parts: list[Part] = ["nn.Sequential(\n"]
    for code, shape in _folded(items):
        parts += ["    ", *code.parts, ",", _note(shape), "\n"]
    return Code((*parts, ")"))


def _note(shape: str) -> Note:
    return Note(shape if not shape or shape.startswith("  # ") else f"  # {shape}")


def _kind(module: Module) -> str:
    """What a class is called after: a block, or a network, whose members of a family are one kind."""
    return module.title.partition("[")[0]


def _snake(title: str) -> str:
    return "".join(
        "_" + c.lower() if c.isupper() and i and not title[i - 1].isupper() else c.lower() for i, c in enumerate(title)
    )
