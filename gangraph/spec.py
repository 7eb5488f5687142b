"""Document -> GraphSpec: the file, merged with its parents and read into typed models.

Every scalar becomes an expression with its place; an unknown key, a wrong kind of entry or an expression that does
not parse is a problem, and all of a file's problems are raised together. The models are also the source of the JSON
Schema that editors read (`gangraph schema`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import field
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema, no_info_plain_validator_function

from gangraph import _paths
from gangraph.document import Document, Mapping, Scalar, Sequence, Tree, dump, read
from gangraph.errors import Fact, Place, Problem, SpecError, nearest
from gangraph.expressions import UNREAD, Expr, List, parse, parse_line, show
from gangraph.frozen import frozen

PARENTS = 8  # how deep `extends` may go


class Key(str):
    """A key of the file, with its place."""

    place: Place

    def __new__(cls, text: str, place: Place) -> Key:
        key = super().__new__(cls, text)
        key.place = place
        return key

    def __getnewargs__(self) -> Any:  # for pickle, with which other processes get a spec
        return str(self), self.place


class Items(list[Any]):
    """A list of a spec file with its place."""

    place = Place()


# --- leaves -------------------------------------------------------------------------------------------------------


def _misread(fact: Fact, place: Place) -> PydanticCustomError:
    place = fact.place or place
    return PydanticCustomError("fact", "{fact}", {"fact": fact.message, "help": fact.help, "place": place})


def _expression(value: Any) -> Expr:
    """A scalar as an expression; a YAML list of scalars is a list."""
    if isinstance(value, Scalar):
        try:
            return parse("None" if value.null else value.text, value.place)
        except Fact as fact:
            raise _misread(fact, value.place) from None
    if isinstance(value, list):
        items = tuple(map(_expression, value))
        return List(items[0].at if items else getattr(value, "place", Place()), items)
    raise PydanticCustomError("kind", "an expression was expected, not a mapping")


def _text(value: Any) -> str:
    if isinstance(value, Scalar):
        return "" if value.null else value.text
    raise PydanticCustomError("kind", "a text was expected")


def _integer(value: Any) -> int:
    if isinstance(value, Scalar) and re.fullmatch(r"-?[0-9]{1,18}", value.text):
        return int(value.text)
    raise PydanticCustomError("kind", "an integer was expected")


def _truth(value: Any) -> bool:
    if isinstance(value, Scalar) and value.text in ("true", "false", "True", "False"):
        return value.text.lower() == "true"
    raise PydanticCustomError("kind", "`true` or `false` was expected")


def _one_of(*words: str) -> Callable[[Any], str]:
    """One of a few words."""

    def check(value: Any) -> str:
        if isinstance(value, Scalar) and value.text in words:
            return value.text
        raise PydanticCustomError("kind", "{words} was expected", {"words": " or ".join(f"`{w}`" for w in words)})

    return check


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


@frozen
class Line:
    """One line of a chain: `items`, side by side; or a loop; or a label over what is inside."""

    items: tuple[Expr, ...] = ()
    body: tuple[Line, ...] = ()
    loop: str | None = None  # the loop's name
    over: Expr | None = None
    label: str | None = None
    at: Place = field(default_factory=Place)


def _line(value: Any) -> Line:
    if isinstance(value, Scalar):
        try:
            return Line(parse_line(value.text, value.place), at=value.place)
        except Fact as fact:
            raise _misread(fact, value.place) from None
    if not isinstance(value, dict) or len(value) != 1:
        raise PydanticCustomError(
            "kind", "a line of a chain is an expression, `for NAME in LIST: [...]` or `LABEL: ...`"
        )
    ((key, inner),) = value.items()
    place = getattr(key, "place", Place())
    body = tuple(map(_line, inner)) if isinstance(inner, list) else (_line(inner),)
    words = key.split(None, 3)
    if words and words[0] == "for":
        if len(words) < 4 or words[2] != "in" or not words[1].isidentifier():
            raise _misread(Fact(f"{key}: a loop is written `for NAME in LIST`"), place)
        try:
            return Line(body=body, loop=words[1], over=parse(key.split(" in ", 1)[1], place), at=place)
        except Fact as fact:
            raise _misread(fact, place) from None
    if not key.isidentifier():
        raise _misread(
            Fact(f"{key} is not a label", "a label is a name; an expression with a colon stands in quotes"), place
        )
    return Line(body=body, label=str(key), at=place)


@frozen
class Chain:
    lines: tuple[Line, ...]
    at: Place


def _value(value: Any) -> Expr | Chain:
    """A value: an expression, or a chain that begins with one."""
    if isinstance(value, list):
        if not value:
            raise PydanticCustomError("kind", "an empty list: a chain has at least one line")
        lines = tuple(map(_line, value))
        return Chain(lines, lines[0].at)
    return _expression(value)


@frozen
class InputName:
    """An input of a network: `x`, or `z=None`, which a call may leave out."""

    name: str
    optional: bool
    at: Place


def _input_name(value: Any) -> InputName:
    if not isinstance(value, Scalar):
        raise PydanticCustomError("kind", "the name of an input was expected")
    name, _, default = (part.strip() for part in value.text.partition("="))
    if not name.isidentifier() or iskeyword(name) or default not in ("", "None"):
        raise _misread(Fact(f"{value.text} is not the name of an input", "NAME, or NAME=None"), value.place)
    return InputName(name, bool(default), value.place)


class Leaf:
    """How pydantic reads a leaf, and what JSON Schema says of it. (A `PlainValidator` costs three times as much.)"""

    def __init__(self, read: Callable[[Any], Any], **described: Any):
        self.read, self.described = read, described

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return dict(self.described)


VALUES = ["string", "number", "boolean", "null", "array"]
Expression = Annotated[Any, Leaf(_expression, type=VALUES, description="an expression")]
Text = Annotated[Any, Leaf(_text, type=["string", "number"])]
Texts = Annotated[Any, Leaf(_texts, type=["string", "array"])]
Integer = Annotated[Any, Leaf(_integer, type="integer")]
Flag = Annotated[Any, Leaf(_truth, type="boolean")]
Mode = Annotated[Any, Leaf(_one_of("train", "eval"), enum=["train", "eval"])]
External = Annotated[Any, Leaf(_one_of("external"), enum=["external"])]
Fresh = Annotated[Any, Leaf(_one_of("fresh"), enum=["fresh"])]
Value = Annotated[Any, Leaf(_value, type=VALUES, description="an expression or a chain")]
Word = Annotated[Any, Leaf(lambda key: key, type="string")]  # a key keeps its place
Inputs = list[Annotated[Any, Leaf(_input_name, type="string")]]
Named = dict[Word, Expression]


def _shape_of(value: Any) -> str:
    if isinstance(value, dict):
        return "<mapping>"
    return "<list>" if isinstance(value, list) else "<scalar>"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


# --- the file -----------------------------------------------------------------------------------------------------


class Paper(Model):
    title: Text = ""
    authors: Texts = []
    venue: Text = ""
    arxiv: Text = ""
    doi: Text = ""
    url: Text = ""
    year: Text = ""


class GraphNetwork(Model):
    """A network written as a graph: named inputs, named values, one or several outputs."""

    inputs: Inputs | None = None
    index: Named = {}
    graph: dict[Word, Value] = {}
    output: Value | None = None
    outputs: list[Expression] | None = None


def _network_kind(value: Any) -> str:
    kind = _shape_of(value)
    return ("<given>" if "is" in value else "<graph>") if kind == "<mapping>" else "<chain>"


Definition = Annotated[
    Annotated[GraphNetwork, Tag("<graph>")] | Annotated[Value, Tag("<chain>")],
    Discriminator(_network_kind),
]


class GivenNetwork(Model):
    """`{is: NETWORK, frozen, mode, weights}`: a part that nobody trains."""

    definition: Annotated[Definition, Field(alias="is")]
    frozen: Flag = False
    mode: Mode = None
    weights: External = None


NetworkSpec = Annotated[
    Annotated[GraphNetwork, Tag("<graph>")]
    | Annotated[GivenNetwork, Tag("<given>")]
    | Annotated[Value, Tag("<chain>")],
    Discriminator(_network_kind),
]


class TwoSides(Model):
    discriminator: Expression
    generator: Expression


LossSpec = Annotated[
    Annotated[TwoSides, Tag("<mapping>")]
    | Annotated[Expression, Tag("<scalar>")]
    | Annotated[Expression, Tag("<list>")],
    Discriminator(_shape_of),
]
InputSpec = Annotated[
    Annotated[Named, Tag("<mapping>")] | Annotated[Expression, Tag("<scalar>")] | Annotated[Expression, Tag("<list>")],
    Discriminator(_shape_of),
]


class StateSpec(Model):
    start: Expression
    becomes: Expression | None = None
    within: Annotated[dict[Word, Expression] | list[Expression] | None, Field(alias="in")] = None

    @property
    def rules(self) -> dict[str, Expr]:
        """What it becomes, by the phase after which; at the end of an iteration under an empty name."""
        if isinstance(self.within, dict):
            return {str(phase): expr for phase, expr in self.within.items()}
        named = [show(phase) for phase in self.within] if self.within is not None else [""]
        return {name: self.becomes for name in named if self.becomes is not None}


PART_KEYS = ("optimizer", "gradient", "before", "after")


class PlayerSpec(Model):
    """`optimizer.NET`, `gradient.NET`, `before.NET`, `after.NET` are collected in `parts`."""

    networks: list[Expression]
    optimizer: Expression
    gradient: Expression | None = None
    before: Expression | None = None
    after: Expression | None = None
    parts: dict[Word, Expression] = {}


class MoveSpec(Model):
    """A phase, a group, a sequence, an update or a reset."""

    player: Expression | None = None
    minimize: Expression | None = None
    networks: list[Expression] | None = None
    when: Expression | None = None
    repeat: Expression | None = None
    batch: Fresh = None
    accumulate: Expression | None = None
    moves: dict[Word, ScheduleSpec] | None = None
    together: dict[Word, ScheduleSpec] | None = None
    update: list[Expression] | None = None
    reset: list[Expression] | None = None


ScheduleSpec = Annotated[
    Annotated[MoveSpec, Tag("<mapping>")]
    | Annotated[Expression, Tag("<scalar>")]
    | Annotated[Expression, Tag("<list>")],
    Discriminator(_shape_of),
]


NO_PHASE = {"moves", "together", "update", "reset"}  # what makes a mapping of the schedule something else
LENGTHS = ("iterations", "epochs", "images")  # in one of which a training says how long it is


class TrainSpec(Model):
    batch: Expression | None = None
    iterations: Expression | None = None
    epochs: Expression | None = None
    images: Expression | None = None
    data: Text | None = None


class TinySpec(Model):
    sizes: Named = {}
    constants: Named = {}
    train: Annotated[TrainSpec, Field(default_factory=TrainSpec.model_construct)]


class LayerSpec(Model):
    """A layer of torch's by its signature; `_` is its input in `shape` and in the shapes of `parameters`."""

    torch: Text
    shape: Expression
    parameters: Named = {}


class LibrarySpec(Model):
    """A file of the library: what a spec may define too."""

    functions: dict[Word, Expression] = {}
    families: dict[Word, TwoSides] = {}
    blocks: dict[Word, NetworkSpec] = {}


class FileSpec(LibrarySpec):
    """A whole spec file. `stages` are kept as trees: each is merged over the rest."""

    gangraph: Integer
    name: Text
    paper: Annotated[Paper, Field(default_factory=Paper.model_construct)]
    notes: Texts = []
    extends: Text | None = None
    sizes: Named = {}
    constants: Named = {}
    index: Named = {}
    inputs: dict[Word, InputSpec] = {}
    prepare: dict[Word, list[Expression]] = {}
    draws: Named = {}
    once: list[Expression] = []
    networks: dict[Word, NetworkSpec] = {}
    layers: dict[Word, LayerSpec] = {}
    init: Named = {}
    graph: dict[Word, Value] = {}
    losses: dict[Word, LossSpec] = {}
    state: dict[Word, StateSpec] = {}
    averages: Named = {}
    players: dict[Word, PlayerSpec] = {}
    schedule: dict[Word, ScheduleSpec] = {}
    sample: Named = {}
    metrics: dict[Word, Value] = {}
    train: Annotated[TrainSpec, Field(default_factory=TrainSpec.model_construct)]
    tiny: Annotated[TinySpec, Field(default_factory=TinySpec.model_construct)]
    meant: list[Expression] = []


class StageKeys(Model):
    """What a stage has besides the keys that it merges over the spec."""

    iterations: Expression | None = None
    images: Expression | None = None
    reset: list[Expression] = []


def schema() -> dict[str, Any]:
    """The JSON Schema of a file as it is written: a spec, whose parent may have what it leaves out, or a library's."""
    made: dict[str, Any] = _as_written(FileSpec.model_json_schema(by_alias=True))
    keys, player = made["properties"], made["$defs"]["PlayerSpec"]
    del player["properties"]["parts"]
    player["patternProperties"] = {rf"^({'|'.join(PART_KEYS)})\.": {"type": VALUES, "description": "an expression"}}
    keys["gangraph"] = {"const": 1}
    stage = {key: value for key, value in keys.items() if key not in COMMON}
    stage |= _as_written(StageKeys.model_json_schema(by_alias=True))["properties"]
    inside = {"type": ["object", "null"], "properties": stage, "additionalProperties": False}
    keys["stages"] = {"type": ["object", "null"], "additionalProperties": inside}
    library = {"propertyNames": {"enum": list(LibrarySpec.model_fields)}}
    made["anyOf"] = [{"required": ["gangraph", "name"]}, library]
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "gangraph spec"
    return made


def _as_written(part: Any, key: str = "") -> Any:
    """A schema of a file that others complete: nothing is required, and what a parent has is taken away by null."""
    if isinstance(part, list):
        return [_as_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {
        "anyOf" if k == "oneOf" else k: _as_written(v, k)
        for k, v in part.items()
        if key in ("properties", "$defs") or k not in ("required", "default", "discriminator")
    }
    if key == "properties":
        return {k: {"anyOf": [v, {"type": "null"}]} for k, v in made.items()}
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = {"anyOf": [made["additionalProperties"], {"type": "null"}]}
    return made


@frozen
class GraphSpec:
    """A spec, merged with its parents and read. `tree` is the merged file; `sources` has the lines of every file.

    `problems` are those of what cannot be read, in whose place `UNREAD` stands, so that all else can be looked at too;
    whoever does so raises them with what he finds.
    """

    file: FileSpec
    tree: Mapping
    place: Place
    sources: Sources
    stage_trees: tuple[tuple[Key, Mapping], ...] = ()
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return dump(self.tree)

    @property
    def name(self) -> str:
        return str(self.file.name)


class Sources:
    """The lines of every file that was read, for the carets of messages."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, ...]] = {}
        self.settled = False  # the spec's file has its parents' lines
        self.removed: dict[str, Place] = {}  # what a child takes away from its parent, by name

    def add(self, document: Document) -> None:
        self.files[document.file] = document.lines

    def line(self, place: Place) -> str | None:
        lines = self.files.get(place.file, ())
        return lines[place.line - 1] if place.line <= len(lines) else None

    def problem(self, place: Place, path: str, fact: Fact | str, trail: tuple[str, ...] = ()) -> Problem:
        message, help = (fact.message, fact.help) if isinstance(fact, Fact) else (fact, None)
        return Problem(place, path, message, help, source=self.line(place), trail=trail)


def expressions(body: Any) -> Iterator[Expr]:
    """Every expression of a body: a value's, a chain's, both sides of a loss."""
    match body:
        case TwoSides():
            yield from (body.discriminator, body.generator)
        case Chain(lines=lines) | Line(body=lines):
            yield from body.items if isinstance(body, Line) else ()
            for line in lines:
                yield from expressions(line)
        case Expr():
            yield body


# --- reading ------------------------------------------------------------------------------------------------------


def read_spec(source: str | Path) -> GraphSpec:
    """A gallery name or a path -> GraphSpec. Raises `SpecError` where so much is wrong that the rest says nothing."""
    path = find(source)
    sources = Sources()
    tree = _merged(path, sources, path.parent, ())
    return parse_spec(tree, sources)


def find(source: str | Path) -> Path:
    """The file of a spec: a path that exists, or the name of a system of the gallery."""
    path = Path(source)
    text = str(source)
    if path.suffix in (".yaml", ".yml") or "/" in text:
        return path
    for found in (path, _paths.specs() / f"{text}.yaml"):
        with suppress(OSError):  # a name that is too long for one
            if found.is_file():
                return found
    hint = nearest(text, [p.stem for p in _paths.specs().glob("*.yaml")])
    problem = Problem(
        Place(text), "", f"no system of the gallery is called '{text}', and no file", hint or "see `gangraph list`"
    )
    raise SpecError([problem])


def named(text: str) -> bool:
    """Whether a system may be called so: letters, digits, - and _."""
    return text.replace("-", "").replace("_", "").isalnum()


def _merged(path: Path, sources: Sources, folder: Path, seen: tuple[Path, ...]) -> Mapping:
    """The tree of a file with its parents' below it."""
    document = read(path)
    sources.add(document)
    root = document.root
    parent = root.get("extends")
    if parent is None:
        return root

    def refuse(fact: str, help: str | None = None) -> SpecError:
        place = parent.place if parent else root.place
        return SpecError([Problem(place, "extends", fact, help, source=sources.line(place))])

    if not isinstance(parent, Scalar) or not parent.text:
        raise refuse("the name of a gallery system or a file was expected")
    if len(seen) >= PARENTS:
        raise refuse(f"more than {PARENTS} specs deep")
    if path.resolve() in seen:
        raise refuse("a spec cannot extend itself")
    target = Path(parent.text)
    if target.suffix in (".yaml", ".yml"):
        found = path.parent / target
        inside = found.resolve().is_relative_to(folder.resolve()) and not target.is_absolute()
        if not inside or any(
            p.is_symlink() for p in [found, *found.parents] if p.is_relative_to(folder) and p != folder
        ):
            raise refuse(
                f"{parent.text} is not in the spec's own folder or below it",
                "a parent may not be elsewhere, nor behind a link",
            )
        if not found.is_file():
            raise refuse(f"no file {parent.text} beside this one")
    else:
        found = _paths.specs() / f"{parent.text}.yaml"
        if not named(parent.text) or not found.is_file():
            hint = nearest(parent.text, [p.stem for p in _paths.specs().glob("*.yaml")])
            raise refuse(f"no system of the gallery is called '{parent.text}'", hint)
        folder = found.parent
    below = _merged(found, sources, folder, (*seen, path.resolve()))
    return merge(below, root, sources, drop=("extends",))


def merge(below: Mapping, above: Mapping, sources: Sources, drop: tuple[str, ...] = ()) -> Mapping:
    """`above` over `below`: mappings key by key in the order of `below`, `~` removes, all else replaces.

    Raises `SpecError` with every `~` that removes nothing.
    """
    problems: list[Problem] = []
    merged = _over(below, above, sources, drop, "", problems)
    if problems:
        raise SpecError(problems)
    return merged


def _over(
    below: Mapping, above: Mapping, sources: Sources, drop: tuple[str, ...], path: str, problems: list[Problem]
) -> Mapping:
    entries = {key: value for key, value in below.entries.items() if key not in drop}
    if path in ("train", "tiny.train") and any(
        key in above.entries for key in LENGTHS
    ):  # the parent's length is another one
        entries = {key: value for key, value in entries.items() if key not in LENGTHS or key in above.entries}
    keys = dict(below.keys)
    order: list[str] | None = None
    phases = path == "schedule" or (path.startswith("schedule.") and path.endswith(".moves"))
    for key, value in above.entries.items():
        if key in drop:
            continue
        if phases and key == "order" and isinstance(value, Sequence):
            order = [item.text for item in value.items if isinstance(item, Scalar)]
            continue
        old: Tree | None = entries.get(key, Mapping({}, value.place, {}) if not path else None)
        inner = f"{path}.{key}" if path else key
        if isinstance(value, Scalar) and value.null:
            if key not in entries:
                fact = Fact(f"there is no {key} to remove", nearest(key, entries))
                problems.append(sources.problem(above.key_place(key), inner, fact))
            entries.pop(key, None)
            sources.removed[key] = above.key_place(key)
            keys[key] = above.keys[key]  # whoever misses it is told here
            continue
        if phases or path.endswith(".together"):
            old, value = old and _minimizing(old, value), _minimizing(value, old)
        entries[key] = (
            _over(old, value, sources, (), inner, problems)
            if isinstance(old, Mapping) and isinstance(value, Mapping)
            else value
        )
        keys[key] = above.keys[key]
    if order is not None:
        missing = [key for key in order if key not in entries]
        if missing:
            fact = Fact(f"no phase is called {missing[0]}", nearest(missing[0], entries))
            problems.append(sources.problem(above.key_place("order"), f"{path}.order", fact))
            order = []
        elif len(set(order)) < len(order):
            twice = next(key for i, key in enumerate(order) if key in order[:i])
            fact = Fact(f"{twice} stands twice", "order has each phase once; `repeat` plays one several times")
            problems.append(sources.problem(above.key_place("order"), f"{path}.order", fact))
        entries = {key: entries[key] for key in [*order, *(k for k in entries if k not in order)]}
    return Mapping(entries, above.place, keys)


def _minimizing(phase: Tree, other: Tree | None) -> Tree:
    """A phase that is an expression as the mapping that it is short for, where the other one is such a mapping."""
    if isinstance(phase, Scalar) and isinstance(other, Mapping) and not other.entries.keys() & NO_PHASE:
        return Mapping({"minimize": phase}, phase.place, {"minimize": phase})
    return phase


def parse_spec(tree: Mapping, sources: Sources) -> GraphSpec:
    """The merged tree -> GraphSpec."""
    stages = tree.get("stages")
    rest = Mapping({k: v for k, v in tree.entries.items() if k != "stages"}, tree.place, tree.keys)
    file, unread = _read_partly(FileSpec, rest, sources)
    problems = []
    if file.gangraph != 1:
        problems.append(
            sources.problem(rest.key_place("gangraph"), "gangraph", "this is gangraph 1, which reads `gangraph: 1`")
        )
    if not named(str(file.name)):
        help = Fact(f"'{file.name}' is no name for a system", "letters, digits, - and _")
        problems.append(sources.problem(rest.key_place("name"), "name", help))
    train = rest.get("train")
    several = [key for key in LENGTHS if isinstance(train, Mapping) and train.get(key)]
    if len(several) > 1 and isinstance(train, Mapping):
        fact = Fact(f"train says its length twice: {', '.join(several)}", "one of them is enough")
        problems.append(sources.problem(train.key_place(several[1]), "train", fact))
    found: list[tuple[Key, Mapping]] = []
    if isinstance(stages, Mapping):
        for key, value in stages.entries.items():
            if isinstance(value, Mapping):
                found.append((Key(key, stages.key_place(key)), value))
            else:
                problems.append(sources.problem(value.place, f"stages.{key}", "a mapping of keys was expected"))
    elif stages is not None:
        problems.append(sources.problem(stages.place, "stages", "a mapping of stages was expected"))
    if problems:
        raise SpecError([*unread, *problems])
    return GraphSpec(file, rest, tree.place, sources, tuple(found), unread)


# What is said one time, for all stages.
COMMON = ("gangraph", "name", "paper", "notes", "extends", "init", "tiny", "meant", "stages")


def stage_spec(spec: GraphSpec, key: Key, over: Mapping) -> tuple[StageKeys, GraphSpec]:
    """One stage: the spec with the stage's keys merged over it."""
    _refuse_common(spec, key, over)
    own = {k: v for k, v in over.entries.items() if k in ("iterations", "images", "reset")}
    rest = {k: v for k, v in over.entries.items() if k not in own}
    keys = _validated(StageKeys, Mapping(own, over.place, over.keys), spec.sources, f"stages.{key}")
    tree = merge(spec.tree, Mapping(rest, over.place, over.keys), spec.sources)
    before = spec.tree.entries
    same = [k for k in before if k not in ("gangraph", "name") and tree.entries.get(k) is before[k]]
    new = Mapping({k: v for k, v in tree.entries.items() if k not in same}, tree.place, tree.keys)
    read = _validated(FileSpec, new, spec.sources, f"stages.{key}")
    kept = {name for name, field_ in FileSpec.model_fields.items() if (field_.alias or name) in same}
    file = read.model_copy(update={name: getattr(spec.file, name) for name in kept})
    return keys, GraphSpec(file, tree, over.place, spec.sources, problems=spec.problems)


def _refuse_common(spec: GraphSpec, key: Key, over: Mapping) -> None:
    """A stage sets nothing that is the same in all of them."""
    said = {name: over.key_place(name) for name in over.entries if name in COMMON}
    train = over.get("train")
    if isinstance(train, Mapping):
        fixed = [name for name in train.entries if name in TrainSpec.model_fields and name != "batch"]
        said |= {f"train.{name}": train.key_place(name) for name in fixed}
    problems = []
    for path, place in said.items():
        help = "it stands at the top of the spec"
        if path in ("train.iterations", "train.images", "train.epochs"):
            own = path.removeprefix("train.").replace("epochs", "iterations or images")
            help = f"a stage's own {own} stand beside train"
        fact = Fact(f"{path} is the same in all stages", help)
        problems.append(spec.sources.problem(place, f"stages.{key}", fact))
    if problems:
        raise SpecError(problems)


def read_library(path: Path, sources: Sources) -> LibrarySpec:
    """One file of a library, read once a process unless somebody edits it."""
    written = path.stat().st_mtime_ns if path.is_file() else 0
    if (path, written) not in _LIBRARY:
        document = read(path)
        _LIBRARY[path, written] = (document, _lazy_library(document))
    document, library = _LIBRARY[path, written]
    sources.add(document)
    return library


_LIBRARY: dict[tuple[Path, int], tuple[Document, LibrarySpec]] = {}


def _lazy_library(document: Document) -> LibrarySpec:
    """A library file whose entries are read only when one of them is used (see `Lazy`)."""
    sources = Sources()
    sources.add(document)
    sections: dict[str, Any] = {}
    for section, tree in document.root.entries.items():
        if section not in LibrarySpec.model_fields or not isinstance(tree, Mapping):
            place = document.root.key_place(section)
            raise SpecError(
                [sources.problem(place, section, "a library has the mappings functions, families and blocks")]
            )
        sections[section] = {
            Key(key, tree.key_place(key)): Lazy(section, Key(key, tree.key_place(key)), value, sources)
            for key, value in tree.entries.items()
        }
    return LibrarySpec.model_construct(**sections)


class Lazy:
    """An entry of a library file, validated at its first use."""

    def __init__(self, section: str, key: Key, tree: Tree, sources: Sources):
        self.section, self.key, self.tree, self.sources = section, key, tree, sources
        self._made: Any = None

    def get(self) -> Any:
        if self._made is None:
            wrapped = Mapping(
                {
                    self.section: Mapping(
                        {self.key: self.tree}, self.key.place, {self.key: Scalar(self.key, self.key.place)}
                    )
                },
                self.key.place,
            )
            library = _validated(LibrarySpec, wrapped, self.sources)
            self._made = getattr(library, self.section)[self.key]
        return self._made


def _validated(model: type[Any], tree: Mapping, sources: Sources, prefix: str = "") -> Any:
    try:
        return model.model_validate(_plain(tree))
    except ValidationError as error:
        raise SpecError(_problems(error, tree, sources, model, prefix)) from None


def _read_partly(model: type[Any], tree: Mapping, sources: Sources) -> tuple[Any, tuple[Problem, ...]]:
    """What can be read of a tree, and what is wrong with the rest: expressions, and keys that nobody knows.

    Raises `SpecError` where something else is wrong, or a whole section is unknown, which others read.
    """
    try:
        return model.model_validate(_plain(tree)), ()
    except ValidationError as error:
        problems = tuple(_problems(error, tree, sources, model, ""))
        for item in error.errors(include_url=False):
            path = _locate(tree, item["loc"])[1]
            if item["type"] == "fact":
                tree = _replaced(tree, path, lambda part: Scalar(UNREAD, part.place))
            elif item["type"] == "extra_forbidden" and len(path) > 1:
                tree = _replaced(tree, path, lambda part: None)
            else:
                raise SpecError(problems) from None
        try:
            return model.model_validate(_plain(tree)), problems
        except ValidationError:
            raise SpecError(problems) from None


def _replaced(tree: Any, path: list[str], by: Callable[[Tree], Tree | None]) -> Any:
    """A tree with another part at a path, or with none."""
    if not path:
        return by(tree)
    if isinstance(tree, Sequence):
        changed = {int(path[0]): _replaced(tree.items[int(path[0])], path[1:], by)}
        return Sequence(tuple(changed.get(i, item) for i, item in enumerate(tree.items)), tree.place)
    if path[0] not in tree.entries:
        return tree
    inner = _replaced(tree.entries[path[0]], path[1:], by)
    entries = {k: inner if k == path[0] else v for k, v in tree.entries.items()}
    return Mapping({k: v for k, v in entries.items() if v is not None}, tree.place, tree.keys)


def _plain(tree: Tree, path: tuple[str, ...] = ()) -> Any:
    """Dicts and lists with scalars as leaves, which is what the models read."""
    if isinstance(tree, Mapping):
        made = {Key(k, tree.key_place(k)): _plain(v, (*path, k)) for k, v in tree.entries.items()}
        return _player_parts(made) if len(path) == 2 and path[0] == "players" else made
    if isinstance(tree, Sequence):
        items = Items(_plain(item, (*path, "")) for item in tree.items)
        items.place = tree.place
        return items
    return tree


def _player_parts(made: dict[Key, Any]) -> dict[Key, Any]:
    """`optimizer.F: ...` of a player goes to `parts`."""
    parts = {k: v for k, v in made.items() if k.split(".")[0] in PART_KEYS and "." in k}
    rest = {k: v for k, v in made.items() if k not in parts}
    return rest | {Key("parts", next(iter(parts)).place): parts} if parts else rest


def _problems(
    error: ValidationError, tree: Mapping, sources: Sources, model: type[BaseModel], prefix: str
) -> Iterator[Problem]:
    errors = error.errors(include_url=False)
    unions = [{e["loc"][:-1] for e in errors if e["type"] == kind} for kind in ("list_type", "dict_type")]
    either = unions[0] & unions[1]
    for item in errors:
        if item["type"] == "dict_type" and item["loc"][:-1] in either:
            continue
        place, path, _ = _locate(tree, item["loc"])
        name = ".".join(filter(None, (prefix, *path)))
        context = item.get("ctx", {})
        if item["type"] == "fact":
            yield sources.problem(context["place"], name, Fact(context["fact"], context["help"]))
        elif item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            known = _fields(model, [str(part) for part in item["loc"][:-1]])
            known += list(StageKeys.model_fields) if prefix.startswith("stages.") and len(item["loc"]) == 1 else []
            holder = _locate(tree, item["loc"][:-1])[2]
            place = holder.key_place(key) if holder else place
            hint = nearest(key, known) or f"the keys here are {', '.join(sorted(known))}"
            yield sources.problem(
                place, ".".join(filter(None, (prefix, *path[:-1]))), Fact(f"unknown key '{key}'", hint)
            )
        elif item["type"] == "missing":
            key = str(item["loc"][-1])
            yield sources.problem(
                place, name.removesuffix(f".{key}") if "." in name else "", f"the key '{key}' is missing"
            )
        elif item["type"] in ("dict_type", "model_type", "model_attributes_type"):
            yield sources.problem(place, name, "a mapping was expected")
        elif item["type"] == "list_type":
            what = "a list, in square brackets, or a mapping" if item["loc"][:-1] in either else None
            yield sources.problem(
                place, name, f"{what or 'a list'} was expected{'' if what else ', in square brackets'}"
            )
        else:
            yield sources.problem(place, name, str(item["msg"]))


def _locate(tree: Tree, loc: tuple[Any, ...]) -> tuple[Place, list[str], Mapping | None]:
    """The place that a pydantic location means; tags of unions, in pointed brackets, are no part of the file."""
    node, path, parent = tree, [], None
    loc = tuple(part for part in loc if not str(part).startswith("<"))
    for part in loc:
        if isinstance(node, Mapping) and str(part) in node.entries:
            parent, node = node, node.entries[str(part)]
            path.append(str(part))
        elif isinstance(node, Mapping) and isinstance(part, str) and part == "parts":
            continue
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            path.append(str(part))
    missing = str(loc[-1]) if loc else ""
    if isinstance(node, Mapping) and missing not in (*path[-1:], "") and not missing.isdigit():
        path.append(missing)
    place = (
        parent.key_place(path[-1])
        if isinstance(node, Mapping) and parent and path and path[-1] in parent.entries
        else node.place
    )
    return place, path, node if isinstance(node, Mapping) else parent


def _fields(model: type[BaseModel], loc: list[str]) -> list[str]:
    """The keys that a model's place knows."""
    models: dict[str, type[BaseModel]] = {
        "paper": Paper,
        "players": PlayerSpec,
        "schedule": MoveSpec,
        "state": StateSpec,
        "train": TrainSpec,
        "tiny": TinySpec,
        "layers": LayerSpec,
        "losses": TwoSides,
        "families": TwoSides,
    }
    found = model
    if loc:
        found = models.get(loc[0], GivenNetwork if "<given>" in loc else GraphNetwork)
        if loc[:2] == ["tiny", "train"]:
            found = TrainSpec
    keys = [field.alias or name for name, field in found.model_fields.items()]
    return [*keys, "stages"] if found is FileSpec else keys
