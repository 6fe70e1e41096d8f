"""File names of wheels that may become names of files here: plain, short, and of a project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

if TYPE_CHECKING:
    from packaging.version import Version

# They become names in the cache, in candidates and in locks.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+-]{0,249}\.whl", re.ASCII)


class WheelName(NamedTuple):
    """The parts of a wheel's file name."""

    project: str
    version: Version
    build: int
    platform: str


def wheel_name(filename: str) -> WheelName | None:
    """The parts of a file name; ``None`` if it is that of no wheel, or not plain."""
    if not _PLAIN.fullmatch(filename):
        return None
    try:
        project, version, build, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    platform = filename.removesuffix(".whl").rpartition("-")[2]
    return WheelName(project, version, build[0] if build else 0, platform)


def is_of(filename: str, project: str) -> bool:
    """Whether it is the file name of a wheel of a project."""
    name = wheel_name(filename)
    return name is not None and name.project == canonicalize_name(project)
