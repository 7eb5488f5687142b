"""Collects spec files: `pytest my_specs/` has a test for each, that its program means what it says.

A YAML file with the key `gangraph` at its top is a spec. It is verified at its `tiny` sizes, where it declares some. A
conftest.py leaves files out with pytest's own `collect_ignore_glob = ["drafts/*"]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gangraph.errors import SpecError


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    with file_path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(100_000)
    return SpecFile.from_parent(parent, path=file_path) if re.search(r"^gangraph *:", head, re.MULTILINE) else None


class SpecFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield SpecItem.from_parent(self, name="means what it says")


class SpecItem(pytest.Item):
    """One spec against the reference."""

    def runtest(self) -> None:
        from gangraph.spec import read_spec
        from gangraph.testing import assert_matches_reference

        tiny = "tiny" in read_spec(self.path).tree.entries
        assert_matches_reference(self.path, tiny=tiny)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (AssertionError, SpecError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: means what it says"
