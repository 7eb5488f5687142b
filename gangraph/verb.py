"""Modules that are also the verb they are named after: `gangraph.draw(spec)` is `gangraph.draw.draw(spec)`."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

from gangraph.errors import RunError


class _Verb(ModuleType):
    @property
    def _function(self) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self._function)

    def __call__(self, *args: Any, **options: Any) -> Any:
        try:
            return self._function(*args, **options)
        except RunError as error:  # an option of the command is an argument here
            said = re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda m: m[1].replace("-", "_"), str(error))
            raise RunError(said).with_traceback(error.__traceback__) from error.__cause__


def callable_itself(name: str) -> None:
    """Lets the module of this name be called."""
    sys.modules[name].__class__ = _Verb
