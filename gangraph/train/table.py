"""A table beside images, `metadata.csv` or `metadata.jsonl` -> which files are the items, and what it says of each.

The names of the files and of the column `file_name` are those of Hugging Face's image folders. Every other column must
be known: what is not read would be lost without a word.

    file_name                 the image, below the folder of the table
    label                     its class
    text, text_1, captions    sentences: one, or in JSON a list of them
    any other name            an attribute: 0 or 1, -1 or 1, true or false, yes or no
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gangraph.errors import RunError
from gangraph.frozen import frozen

TABLES = ("metadata.csv", "metadata.jsonl")
FILE, LABEL = "file_name", "label"
SENTENCES = re.compile(r"(text|caption)s?(_?\d+)?")
BITS = {"0": 0, "1": 1, "-1": 0, "false": 0, "true": 1, "no": 0, "yes": 1}

Row = dict[str, Any]


@frozen(eq=False)
class Table:
    files: tuple[Path, ...]
    labels: tuple[str, ...] | None  # of each file
    names: tuple[str, ...]  # of the attributes, in the order of the columns
    attributes: NDArray[np.uint8]  # [files, names]
    captions: tuple[tuple[str, ...], ...] | None


def read_table(folder: Path) -> Table | None:
    """The table of a folder, if it has one. Raises `RunError` with the line that is not as it must be."""
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise RunError(f"{folder} has {' and '.join(TABLES)}: which of them holds?")
    (path,) = found
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(_csv(path, stream) if path.suffix == ".csv" else _jsonl(path, stream))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RunError(f"{path} is not UTF-8: save it so") from None
    if not lines:
        raise RunError(f"{path} has no rows")
    columns = list(lines[0][1])
    if FILE not in columns:
        raise RunError(f"{path} has no column {FILE}, with the name of each image")
    for line, row in lines:
        if set(row) != set(columns):
            differ = ", ".join(sorted(set(row) ^ set(columns)))
            raise RunError(f"{path}, line {line}: it has not the columns of the first row ({differ})")
    rest = [c for c in columns if c not in (FILE, LABEL)]
    spoken = [c for c in rest if SENTENCES.fullmatch(c)]
    names = [c for c in rest if c not in spoken]
    bits = [[_bit(path, line, c, row[c]) for c in names] for line, row in lines]
    return Table(
        _files(path, lines),
        tuple(_label(path, line, row[LABEL]) for line, row in lines) if LABEL in columns else None,
        tuple(names),
        np.array(bits, np.uint8).reshape(len(lines), len(names)),
        tuple(_sentences(path, line, [row[c] for c in spoken]) for line, row in lines) if spoken else None,
    )


def _csv(path: Path, stream: Any) -> Iterator[tuple[int, Row]]:
    """The rows, and the line where each ends."""
    reader = csv.reader(stream, strict=True)
    try:
        head = next(reader, [])
        if twice := sorted({c for c in head if head.count(c) > 1}):
            raise RunError(f"{path} has several columns called {', '.join(twice)}")
        for cells in reader:
            if cells and len(cells) != len(head):
                raise RunError(f"{path}, line {reader.line_num}: {len(cells)} cells, and the head has {len(head)}")
            if cells:
                yield reader.line_num, dict(zip(head, cells, strict=True))
    except csv.Error as error:
        raise RunError(f"{path}, line {reader.line_num}: {error}") from None


def _jsonl(path: Path, stream: Any) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: not JSON ({getattr(error, 'msg', 'nested too deep')})") from None
        if not isinstance(row, dict):
            raise RunError(f'{path}, line {number}: a row is an object, such as {{"{FILE}": "1.png", "smiling": 1}}')
        yield number, row


def _files(path: Path, lines: list[tuple[int, Row]]) -> tuple[Path, ...]:
    seen: dict[Path, int] = {}
    for line, row in lines:
        name = row[FILE]
        relative = Path(name) if isinstance(name, str) else Path()
        if relative == Path() or relative.is_absolute() or ".." in relative.parts:
            raise RunError(f"{path}, line {line}: {name!r} is no file below the folder of the table")
        if relative in seen:
            help = "several sentences of one image are columns text_1, text_2"
            raise RunError(f"{path}, line {line}: {name} is already in line {seen[relative]} ({help})")
        if not (path.parent / relative).is_file():
            raise RunError(f"{path}, line {line}: there is no file {path.parent / relative}")
        seen[relative] = line
    return tuple(path.parent / relative for relative in seen)


def _bit(path: Path, line: int, column: str, cell: Any) -> int:
    bit = BITS.get(str(cell).strip().lower())
    if bit is None:
        others = f"`{LABEL}` is the class, `text` a sentence"
        raise RunError(
            f"{path}, line {line}: {column} is {cell!r}, and an attribute is 0 or 1, -1 or 1, true or false ({others})"
        )
    return bit


def _label(path: Path, line: int, cell: Any) -> str:
    if isinstance(cell, str | int) and str(cell).strip():
        return str(cell).strip()
    raise RunError(f"{path}, line {line}: the {LABEL} is {cell!r}, and a class is a name or an integer")


def _sentences(path: Path, line: int, cells: list[Any]) -> tuple[str, ...]:
    """Those that are said: a cell may be empty, but not all of them."""
    flat = [s for cell in cells for s in (cell if isinstance(cell, list) else [cell])]
    if any(not isinstance(s, str) for s in flat):
        raise RunError(f"{path}, line {line}: a sentence is a string")
    said = tuple(s for s in flat if s.split())
    if not said:
        raise RunError(f"{path}, line {line}: no sentence says anything")
    return said
