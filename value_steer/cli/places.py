"""Conditions on the files and folders of a command, checked before any of its work is done."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.errors import SettingsError
from value_steer.records.files import unwritable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HEAD_SUFFIXES = (".safetensors", ".pt", ".bin")
"""Of the files that a head can be written to."""

PICTURE_SUFFIXES = (".svg", ".png", ".pdf")
"""Of the files that a picture can be drawn in."""


class Use(Enum):
    """How a command uses a path."""

    READ = "read"
    REPLACE = "replace"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Place:
    """A path of a command, and the conditions on it.

    Attributes:
        use: What is done there.
        check: Says what is wrong with a path, if something is.
    """

    use: Use
    check: Callable[[Path], str | None]


def require(places: Mapping[str, Place], options: Namespace) -> None:
    """Check every path that was given.

    Args:
        places: By option, as it is typed.
        options: As parsed.

    Raises:
        SettingsError: One cannot be used, or would be written over although it is read.
    """
    given = [(o, p, path) for o, p in places.items() for path in _paths(options, o)]
    for option, place, path in given:
        try:
            problem = place.check(path)
        except OSError as error:
            problem = f"cannot be used ({error.strerror or error})"
        if problem is not None:
            msg = f"{option} {path}: {problem}"
            raise SettingsError(msg)
    read = {os.path.realpath(path): option for option, p, path in given if p.use is Use.READ}
    for option, place, path in given:
        other = read.get(os.path.realpath(path))
        if place.use is Use.WRITE and other is not None:
            msg = f"{option} {path}: {other} is read from there; write somewhere else"
            raise SettingsError(msg)


def _paths(options: Namespace, option: str) -> Iterator[Path]:
    value = getattr(options, option.lstrip("-").replace("-", "_"))
    yield from value if isinstance(value, list) else () if value is None else (value,)


def _file(path: Path) -> str | None:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        return "is a folder; give a file"
    if not stat.S_ISREG(kind):
        # It is read twice, and one that nobody writes to would be waited for without end.
        return "is no regular file; write what it gives to one"
    with path.open("rb"):
        pass
    return None if path.stat().st_size else "is empty"


def _folder(path: Path) -> str | None:
    return None if stat.S_ISDIR(path.stat().st_mode) else "is no folder"


def _either(path: Path) -> str | None:
    return _folder(path) if stat.S_ISDIR(path.stat().st_mode) else _file(path)


def _folder_with(name: str, what: str) -> Callable[[Path], str | None]:
    def check(path: Path) -> str | None:
        if (problem := _folder(path)) is not None:
            return f"{problem}; give {what}"
        return None if (path / name).is_file() else f"has no {name}; give {what}"

    return check


def _own_features(path: Path) -> str | None:
    return FEATURES.check(path) or unwritable(path)


def _output_file(path: Path) -> str | None:
    if _exists(path) and not path.is_file():
        return "is there and is no regular file; name a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; make it first"
    return unwritable(path.parent)


def _new_file(path: Path) -> str | None:
    return _output_file(path) if path.parent.is_dir() else _output_folder(path.parent)


def _head_file(path: Path) -> str | None:
    if path.suffix not in HEAD_SUFFIXES:
        return f"unknown suffix {path.suffix!r}; use .safetensors, .pt or .bin"
    return _output_file(path)


def _picture(path: Path) -> str | None:
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return f"the name must end in {', '.join(PICTURE_SUFFIXES)}"
    return _output_file(path)


def _own_file(path: Path) -> str | None:
    return _file(path) or unwritable(path.parent)


def _output_folder(path: Path) -> str | None:
    existing = next(one for one in (path, *path.absolute().parents) if _exists(one))
    if not existing.is_dir():
        return f"{existing} is a file; name a folder" if existing != path else "is no folder"
    return unwritable(existing)


def _exists(path: Path) -> bool:
    """Whether something is there; a symbolic link to nothing, or to itself, is something."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


FILE = Place(Use.READ, _file)
FILES = Place(Use.READ, _either)
FEATURES = Place(Use.READ, _folder_with("index.json", "the folder that capture wrote"))
OWN_FEATURES = Place(Use.REPLACE, _own_features)
"""Into whose folder something is written as well."""
MODEL = Place(Use.READ, _folder_with("config.json", "the folder of a model"))
FOLDER = Place(Use.READ, _folder)
OWN_FILE = Place(Use.REPLACE, _own_file)
"""One that is read, and written anew with what lies beside it."""
HEAD_FILE = Place(Use.WRITE, _head_file)
PICTURE = Place(Use.WRITE, _picture)
NEW_FILE = Place(Use.WRITE, _new_file)
"""One whose folder is made if need be."""
OUTPUT_FOLDER = Place(Use.WRITE, _output_folder)
