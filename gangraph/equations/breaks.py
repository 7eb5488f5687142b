r"""Section -> lines that a page holds: a long formula breaks where it says that it may, outside of brackets first.

A formula has marks where it may break: `BREAK` before a sign or behind a comma, `LATE` and `LAST` where only a formula
breaks that has no better place. A break costs what its mark does, and more the deeper it is in brackets; of breaks that
cost the same the fewest are taken.

>>> from gangraph.equations.pieces import BREAK
>>> broken(f"2 (a{BREAK} + b){BREAK} + c", 9, "text")
[(0, '2 (a + b)'), (0, '+ c')]
>>> broken(rf"2 \left(a{BREAK} + b\right){BREAK} + c", 5, "latex")
[(0, '2 \\left(a\\right.'), (1, '\\left. + b\\right)'), (0, '+ c')]
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator

from gangraph.equations.pieces import BREAK, LAST, LATE, Equation, Section, plain

PAGE = {"text": 100, "latex": 90}  # characters of a terminal; half ems of a page of 16 cm
COSTS = {BREAK: 0.0, LATE: 1.5, LAST: 1.75}  # one more for each bracket around it
INDENT = {"text": "  ", "latex": r"\quad "}
WORDS = {"left": 0.0, "right": 0.0, "middle": 0.0, "qquad": 4.0, "quad": 2.0, "sum": 2.5, "mathbb": 0.0, "mathcal": 0.3}
WORDS |= dict.fromkeys(("log", "exp", "min", "max"), 3.2) | dict.fromkeys(
    ("mathrm", "mathfrak", "text", "hat", "tilde", ","), 0.0
)
WORDS |= dict.fromkeys(("sim", "in", "gets", "cdot", "land", "lor", "le", "ge", "ne", "bmod"), 2.6)
TOKEN = re.compile(r"\\(?:left|right|middle)\s*(?:\\[A-Za-z]+|\\.|.)|\\[A-Za-z]+|\\.|.", re.DOTALL)

Line = tuple[int, str]  # how far to the right it begins, and what it says


def lines(section: Section, form: str) -> Iterator[tuple[Equation, str, list[str]]]:
    """Every equation with the lines of what stands right of its relation, in a form, `text` or `latex`: the first, and
    the others, further to the right inside of brackets.
    """
    left = max((width(plain(getattr(e.left, form)), form) for e in section.equations), default=0)
    room = max(PAGE[form] - left - 7, PAGE[form] // 2)
    for equation in section.equations:
        (_, first), *more = broken(getattr(equation.right, form), room, form)
        yield equation, first, [INDENT[form] * deep + line for deep, line in more]


def broken(formula: str, room: float, form: str) -> list[Line]:
    """The lines of a formula, each with room for so much, where its marks allow it."""
    parts, costs, depths, sized = _parts(formula, form)
    ends = [0.0, *itertools.accumulate(width(part, form) for part in parts)]
    best = [(0.0, 0.0, 0, 0)] * (len(parts) + 1)  # from each part on: what is too wide, cost, lines, end of the first
    for start in reversed(range(len(parts))):
        choices = []
        for end in range(start + 1, len(parts) + 1):
            over, cost, count, _ = best[end]
            over += max(0.0, ends[end] - ends[start] + 2 * depths[start] - room)
            choices.append((over, cost + costs[end], count + 1, -end))  # of equal ones that with the longest line
        over, cost, count, end = min(choices)
        best[start] = over, cost, count, -end
    found, start = [], 0
    while start < len(parts):
        end = best[start][3]
        found.append((depths[start], _line(parts, sized, start, end)))
        start = end
    return found


def _parts(formula: str, form: str) -> tuple[list[str], list[float], list[int], list[int]]:
    """What stands between the marks; and, for each part and the end, what a break before it costs, how far to the right
    a line begins there, which is the number of open brackets, and the number of those that grow.
    """
    parts, costs, depths, sized = [""], [0.0], [0], [0]
    deep = tall = within = 0  # brackets, those that grow, and braces, in which nothing breaks
    for token in TOKEN.findall(formula) if form == "latex" else formula:
        if token in COSTS:
            if not within:
                parts.append("")
                costs.append(deep + COSTS[token])
                depths.append(deep + (token == LAST))
                sized.append(tall)
            continue
        opening, closing = token.startswith(r"\left"), token.startswith(r"\right")
        tall += opening - closing
        deep += (opening or token in "([⌊") - (closing or token in ")]⌋")
        within += (token in (r"{", r"\begin")) - (token in (r"}", r"\end"))
        parts[-1] += token
    return parts, [*costs, 0], depths, [*sized, 0]


def _line(parts: list[str], sized: list[int], start: int, end: int) -> str:
    """Some parts as one line, in which LaTeX's growing brackets are closed, and opened, by invisible ones."""
    said = re.sub(r"^\s*(?:\\qquad\s+)?", "", "".join(parts[start:end])) if start else "".join(parts[start:end])
    return r"\left." * sized[start] + (" " if sized[start] else "") + said.rstrip() + r"\right." * sized[end]


# --- widths


def width(formula: str, form: str) -> float:
    """About how wide a formula is: characters of text, or half ems of LaTeX."""
    return (
        sum(not unicodedata.combining(c) for c in formula) if form == "text" else _group(TOKEN.findall(formula)[::-1])
    )


def _group(tokens: list[str]) -> float:
    """Takes tokens from the end of a list, up to a closing brace. What hangs on a letter is small, above or below."""
    total = hung = 0.0
    while tokens:
        token = tokens.pop()
        if token == "}":
            break
        if token in "_^":
            size = 0.7 * _argument(tokens)
            total, hung = total - hung + max(hung, size), max(hung, size)
            continue
        if token != " ":
            hung = 0.0
        total += _wide(token, tokens)
    return total


def _argument(tokens: list[str]) -> float:
    token = tokens.pop()
    return _group(tokens) if token == "{" else _wide(token, tokens)


def _wide(token: str, tokens: list[str]) -> float:
    if token == "{":
        return _group(tokens)
    if token in (r"\frac", r"\tfrac"):
        return max(_argument(tokens), _argument(tokens)) * (1 if token == r"\frac" else 0.7) + 0.5
    if token == r"\sqrt":
        return 1.5 + _argument(tokens)
    if token.startswith((r"\left", r"\right", r"\middle")):
        return 0.0 if token.endswith(".") else 0.9
    if token.startswith("\\"):
        return WORDS.get(token[1:], 1.1)
    return 0.0 if token == " " else 2.6 if token in "+-=<>" else 0.8 if token in "()[],.|;:" else 1.1
