"""Text -> Document: YAML as a tree of scalars, mappings and sequences, each with its place.

Every scalar is kept as text, because the language's own expressions give it meaning: YAML decides the structure
and nothing else. Anchors, aliases, tags, merges and repeated keys are refused, and so is a mapping or a list
whose expression YAML's braces have cut at a comma. Events are read one by one with a stack of our own, so that no
file, however deep or large, can do more than be refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gangraph.errors import Place, Problem, SpecError
from gangraph.frozen import frozen

LARGEST = 2_000_000  # characters; the largest spec of the gallery has 4,000
DEEPEST = 40
_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[]")  # where an expression with brackets begins


@frozen
class Scalar:
    """One scalar: its text, and where the text begins. `null` is an empty value or `~`."""

    text: str
    place: Place
    null: bool = False
    exact: bool = True  # column i of the text stands at column place.column + i of the file

    def __str__(self) -> str:
        return "~" if self.null else self.text


@frozen
class Sequence:
    items: tuple[Tree, ...]
    place: Place

    def __str__(self) -> str:
        return "[" + ", ".join(map(str, self.items)) + "]"


@frozen
class Mapping:
    """Entries in order; `keys` has the place of each key."""

    entries: dict[str, Tree]
    place: Place
    keys: dict[str, Scalar] = field(default_factory=dict)

    def __str__(self) -> str:
        return "{" + ", ".join(f"{k}: {v}" for k, v in self.entries.items()) + "}"

    def get(self, key: str) -> Tree | None:
        return self.entries.get(key)

    def key_place(self, key: str) -> Place:
        found = self.keys.get(key)
        return found.place if found else self.place


Tree = Scalar | Sequence | Mapping


@frozen
class Document:
    """A file, read: its tree and its lines (for the carets of messages)."""

    root: Mapping
    lines: tuple[str, ...]
    file: str

    def __str__(self) -> str:
        return dump(self.root)


def read(path: Path) -> Document:
    """Reads a file; whatever it contains, a problem with its place is the worst that happens."""
    name = _shown(path)

    def refuse(fact: str, help: str | None = None) -> SpecError:
        return SpecError([Problem(Place(name), "", fact, help)])

    try:
        if not path.is_file():
            inside = path / "spec.yaml"
            help = f"a run's spec is {inside}" if inside.is_file() else None
            raise refuse("no such file" if not path.exists() else "a folder" if path.is_dir() else "not a file", help)
        if path.stat().st_size > 4 * LARGEST:
            raise refuse(
                f"{path.stat().st_size // 1_000_000} MB: too large for a spec, which has a few thousand characters"
            )
        data = path.read_bytes()
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"not a text file: byte {error.start} is not UTF-8") from None
    return read_text(text, name)


def read_text(text: str, name: str = "<spec>") -> Document:
    """Reads a text; see `read`."""
    reader = _Reader(text, name)
    root = reader.read()
    if reader.problems:
        raise SpecError(reader.problems)
    assert isinstance(root, Mapping)
    return Document(root, reader.lines, name)


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


SPACES = dict.fromkeys(map(ord, "\n\r\t"))  # not printable, and good


class _Reader:
    def __init__(self, text: str, name: str):
        self.text, self.name = text, name
        self.lines = tuple(text.splitlines())
        self.problems: list[Problem] = []

    def problem(self, place: Place, fact: str, help: str | None = None, path: str = "") -> None:
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else None
        self.problems.append(Problem(place, path, fact, help, source=line))

    def place(self, mark: Any) -> Place:
        return Place(self.name, mark.line + 1, mark.column + 1)

    def read(self) -> Tree | None:
        start = Place(self.name)
        if len(self.text) > LARGEST:
            self.problem(start, "too large for a spec, which has a few thousand characters")
            return None
        if not self.text.translate(SPACES).isprintable():
            bad = next(i for i, c in enumerate(self.text) if not (c.isprintable() or c in "\n\r\t"))
            line = self.text.count("\n", 0, bad) + 1
            column = bad - (self.text.rfind("\n", 0, bad) + 1) + 1
            place = Place(self.name, line, column)
            self.problems.append(Problem(place, "", f"not a text file: it contains the character {self.text[bad]!a}"))
            return None
        root = self._events()
        if root is None and not self.problems:
            self.problem(start, "the file is empty", "a spec begins with `gangraph: 1`")
        elif not isinstance(root, Mapping) and not self.problems:
            self.problem(start, "a spec is a mapping of keys", "it begins with `gangraph: 1`")
        return root

    def _events(self) -> Tree | None:
        """The tree, built from YAML's events with a stack of open nodes."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        stack: list[_Open] = []
        root: Tree | None = None
        documents = 0
        try:
            for event in YAML(typ="safe").parse(self.text):
                kind = type(event).__name__
                if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
                    continue
                if kind == "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        self.problem(
                            self.place(event.start_mark), "a second document begins here", "a file is one spec"
                        )
                        return None
                    continue
                place = self.place(event.start_mark)
                if kind == "AliasEvent" or getattr(event, "anchor", None):
                    self.problem(
                        place, "anchors and aliases are not used in a spec", "write the value out, or use `extends`"
                    )
                    return None
                if kind in ("MappingEndEvent", "SequenceEndEvent"):
                    node = stack.pop().close(self)
                elif kind == "ScalarEvent":
                    if event.tag is not None and not (event.tag == "!" and event.style):
                        self.problem(place, "tags are not used in a spec", f"remove {event.tag}")
                        return None
                    node = self._scalar(event, place)
                else:
                    if event.tag is not None:
                        self.problem(place, "tags are not used in a spec", f"remove {event.tag}")
                        return None
                    if len(stack) >= DEEPEST:
                        self.problem(place, f"more than {DEEPEST} levels deep")
                        return None
                    stack.append(_Open(kind == "MappingStartEvent", place, bool(event.flow_style)))
                    continue
                if stack:
                    stack[-1].nodes.append(node)
                else:
                    root = node
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self.place(mark) if mark else Place(self.name)
            fact = " ".join(str(error.problem or error.context or "not YAML").split())
            if not self._cut_at(place):
                opened = error.context_mark.line + 1 if "flow" in str(error.context) and error.context_mark else 0
                self.problem(place, f"not YAML: {fact}", self._yaml_help(fact, place, opened))
            return None
        except (YAMLError, ValueError, RecursionError) as error:
            self.problem(Place(self.name), f"not YAML: {' '.join(str(error).split())[:200]}")
            return None
        return root

    def quoted(self, scalar: Scalar) -> bool:
        return self.lines[scalar.place.line - 1][: scalar.place.column - 1].endswith(("'", '"'))

    def _cut_at(self, place: Place) -> bool:
        """Whether YAML stumbled inside an expression with a comma, which it had cut; says so."""
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        for found in _CALL.finditer(line):
            whole = _to_balance(line[found.start() :])
            inside = found.start() < place.column - 1 <= found.start() + len(whole)
            if inside and "," in whole and any(c in line[: found.start()] for c in "{["):
                here = Place(self.name, place.line, found.start() + 1)
                before = line[: found.start()]
                quote = next((q for q in "\"'" if before.count(q) % 2 and q in whole), None)
                if quote:
                    other = "'" if quote == '"' else '"'
                    help = f"write {other}...{other} outside, or no quotes inside"
                    self.problem(here, f"{whole} has quotes inside that end those around it", help)
                else:
                    self.problem(here, f"{whole} was cut at the comma", "put it in quotes or on a line of its own")
                return True
        return False

    def _yaml_help(self, fact: str, place: Place, opened: int) -> str | None:
        if place.line <= len(self.lines) and "\t" in self.lines[place.line - 1]:
            return "a tab stands here, and YAML is indented with spaces"
        if "mapping values are not allowed" in fact or "found unexpected ':'" in fact:
            return (
                "look at the indentation here and above; "
                "an expression with a colon or a comma stands in quotes or on a line of its own"
            )
        if opened:
            return f"the bracket of line {opened} is not closed, or an expression in it needs quotes"
        if "expected <block end>" in fact or "did not find expected" in fact:
            return "look at the indentation and at the brackets of the lines above"
        return None

    def _scalar(self, event: Any, place: Place) -> Scalar:
        quoted = event.style in ("'", '"')
        single = event.start_mark.line == event.end_mark.line
        if event.style in ("|", ">"):
            return Scalar(event.value.strip(), Place(place.file, place.line + 1, place.column), exact=False)
        return Scalar(
            event.value if quoted else " ".join(event.value.split()) if not single else event.value,
            place.right(1) if quoted else place,
            null=not quoted and event.value in ("", "~", "null"),
            exact=single,
        )


@dataclass
class _Open:
    """A mapping or sequence whose end has not come."""

    mapping: bool
    place: Place
    flow: bool
    nodes: list[Tree] = field(default_factory=list)

    def close(self, reader: _Reader) -> Tree:
        if self.flow and self._cut(reader):
            return Mapping({}, self.place) if self.mapping else Sequence((), self.place)
        if not self.mapping:
            return Sequence(tuple(self.nodes), self.place)
        entries: dict[str, Tree] = {}
        keys: dict[str, Scalar] = {}
        for key, value in zip(self.nodes[::2], self.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                reader.problem(key.place, "a key is a name, not a list or a mapping", "put an expression in quotes")
            elif key.text == "<<":
                reader.problem(key.place, "merge keys are not used in a spec", "use `extends`")
            elif (text := unicodedata.normalize("NFKC", key.text)) in entries:  # as Python's parser has names
                first = keys[text].place.line
                reader.problem(key.place, f"the key {text} stands twice", f"the first is in line {first}")
            else:
                entries[text], keys[text] = value, key
        return Mapping(entries, self.place, keys)

    def _cut(self, reader: _Reader) -> bool:
        """Whether an expression in this flow collection was cut at a comma; says so once."""
        for index, node in enumerate(self.nodes):
            if isinstance(node, Scalar) and _unbalanced(node.text) and not reader.quoted(node):
                start = self.nodes[index - 1] if self.mapping and index % 2 else node
                whole = _to_balance(reader.lines[start.place.line - 1][start.place.column - 1 :])
                reader.problem(start.place, f"{whole} was cut at the comma", "put it in quotes or on a line of its own")
                return True
        for key, value in zip(self.nodes[::2], self.nodes[1::2], strict=False) if self.mapping else ():
            if isinstance(key, Scalar) and isinstance(value, Scalar) and value.null and not value.text:
                help = 'a key with a comma in it stands in quotes, as in {"a, b": split(x, 2)}; `~` removes'
                reader.problem(key.place, f"{key.text} has no value", help)
                return True
        return False


def _unbalanced(text: str) -> bool:
    """Whether the brackets of a text do not close (brackets inside quotes do not count)."""
    depth, quote = 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return True
    return depth != 0


def _to_balance(text: str) -> str:
    """The shortest beginning of a line in which every bracket that opened has closed."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth == 0 and char in ")]}":
            return text[: index + 1]
    return text.strip()


# --- writing ------------------------------------------------------------------------------------------------------


def dump(tree: Tree, indent: int = 0) -> str:
    """A tree as YAML text: block style for mappings, one line for a scalar or a list of scalars."""
    pad = "  " * indent
    if isinstance(tree, Scalar):
        return pad + quoted(tree) + "\n"
    if isinstance(tree, Sequence):
        if all(isinstance(item, Scalar) for item in tree.items):
            inline = "[" + ", ".join(quoted(item, flow=True) for item in tree.items if isinstance(item, Scalar)) + "]"
            if len(inline) + len(pad) < 120:
                return pad + inline + "\n"
        lines = []
        for item in tree.items:
            text = dump(item, indent + 1)
            lines.append(pad + "- " + text[len(pad) + 2 :])
        return "".join(lines)
    if not tree.entries:
        return pad + "{}\n"
    parts = []
    for key, value in tree.entries.items():
        head = pad + quoted(Scalar(key, tree.place)) + ":"
        alone = dump(value, 0)
        one_line = isinstance(value, Scalar) or (isinstance(value, Sequence) and alone.startswith("["))
        parts.append(f"{head} {alone.strip()}\n" if one_line else head + "\n" + dump(value, indent + 1))
    return "".join(parts)


def quoted(scalar: Scalar, flow: bool = False) -> str:
    """A scalar as YAML, in quotes where it needs them."""
    text = scalar.text
    if scalar.null:
        return "~"
    plain = (
        text
        and text == text.strip()
        and text[0] not in "!&*-?|>%@`\"'#{}[],:="
        and ": " not in text
        and " #" not in text
        and not text.endswith(":")
        and "\n" not in text
        and text not in ("~", "null")
        and not (flow and any(c in text for c in ",[]{}"))
    )
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
