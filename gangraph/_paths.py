"""Where the data folders are: inside the installed package, or beside it in a checkout.

A wheel carries `codegen/` and `specs/` inside the package. An editable install and a bare checkout have them at the top
of the repository. This file is the only one that knows.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def codegen() -> Path:
    """The folder of templates and of blocks that are copied into emitted programs."""
    return _data("codegen")


def specs() -> Path:
    """The folder of the gallery; the standard library is in its subfolder `library`."""
    return _data("specs")


def _data(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
