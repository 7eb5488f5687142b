"""Modules that are also the verb they are named after: `gangraph.draw(spec)` is `gangraph.draw.draw(spec)`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **options)


def callable_itself(name: str) -> None:
    """Lets the module of this name be called."""
    sys.modules[name].__class__ = _Verb
