"""What verification found: differences, a row for each property, a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gangraph.errors import Place
from gangraph.frozen import frozen

PROPERTIES = {
    1: "losses",
    2: "gradients, and which parameters they reach",
    3: "whole iterations",
    4: "the same without the planner",
    5: "the emitted file by itself",
    6: "losses and gradients in float32",
    7: "views and metrics",
    8: "first weights and noise",
}


@frozen
class Difference:
    """One number that the program and the reference do not agree on."""

    number: int  # of the property
    case: str
    what: str
    program: Any
    reference: Any
    spec_line: Place | None = None
    program_line: int | None = None

    def __str__(self) -> str:
        lines = [f"{self.what}", f"  program    {_said(self.program)}", f"  reference  {_said(self.reference)}"]
        lines.append(f"  case       {self.case}")
        if self.spec_line:
            lines.append(f"  spec       {self.spec_line}")
        if self.program_line:
            lines.append(f"  program    line {self.program_line}")
        return "\n".join(lines)


def _said(value: Any) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


@dataclass
class Row:
    """What was found of one property."""

    number: int  # of the property
    cases: int = 0
    deviation: float = 0.0  # the largest, as a fraction of what is compared, beyond what rounding explains
    differences: list[Difference] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "differs" if self.differences else "agrees" if self.cases else "not tried"


@dataclass
class Report:
    """A table of properties, and below it the first difference of each, in the smallest case that has it."""

    name: str
    rows: dict[int, Row]
    taken: dict[str, str] = field(default_factory=dict)  # declared layers, and torch's, which both sides use

    @property
    def good(self) -> bool:
        return not any(row.differences for row in self.rows.values())

    @property
    def differences(self) -> list[Difference]:
        return [d for row in self.rows.values() for d in row.differences]

    def __str__(self) -> str:
        width = max(map(len, PROPERTIES.values()))
        lines = [f"{self.name}: {'property':<{width}}  cases  largest deviation  verdict"]
        indent = " " * (len(self.name) + 2)
        for row in self.rows.values():
            lines.append(
                f"{indent}{PROPERTIES[row.number]:<{width}}  {row.cases:>5}  {_deviation(row):>17}  {row.verdict}"
            )
        for name, torch in self.taken.items():
            lines.append(
                f"{indent}not proven: {name}, which the reference takes from torch ({torch}) as the program does"
            )
        return "\n".join([*lines, *(f"\n{d}" for row in self.rows.values() for d in row.differences[:1])])


def _deviation(row: Row) -> str:
    """The largest one that is within its bound; of what differs, the values below the table say more."""
    return "-" if row.differences else f"{row.deviation:.1e}"
