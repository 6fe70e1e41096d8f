"""Files generated from the registry: the extra, two tables, badges, Actions' matrix.

All of it follows from the registry, the candidates, the policy and the overrides, and from neither
the clock nor the code, so that it drifts only when one of these files changes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from compat.errors import UsageError
from compat.release import readme
from compat.releases import matrix
from compat.releases.candidates import list_series
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from compat.release.inventory import Inventory

BADGES = "badges"
DETAILS = "docs/compatibility.md"
TABLE_BEGIN = "<!-- registry: begin (python -m compat derive) -->"
TABLE_END = "<!-- registry: end -->"

_CLAUSES = ("==", ">=", "<=", "!=")
_EXTRA = re.compile(r'^vllm = \["(vllm[^"]*)"\]$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Derived:
    """A generated file, or one with a generated part."""

    path: Path
    text: str


def derive(root: Path, known: Inventory) -> tuple[Derived, ...]:
    """All generated files, as they should be.

    Raises:
        UsageError: A file into which something is generated is not there, or has no place for it;
            or no release belongs inside the extra.
    """
    return (
        Derived(root / "pyproject.toml", _with_extra(root / "pyproject.toml", known)),
        Derived(root / "README.md", _with_table(root / "README.md", readme.overview(known))),
        Derived(root / DETAILS, _with_table(root / DETAILS, readme.details(known))),
        Derived(
            root / "matrix" / "actions.json",
            matrix.dumps(matrix.planned(known.candidates, known.rules.cells)),
        ),
        *_badges(root, known),
    )


def drift(root: Path, known: Inventory) -> tuple[Path, ...]:
    """The generated files that are not what they should be, or should not be there."""
    derived = derive(root, known)
    wrong = [d.path for d in derived if not d.path.is_file() or _text(d.path) != d.text]
    return (*wrong, *_leftover(root, derived))


def write(root: Path, known: Inventory) -> tuple[Path, ...]:
    """Generate what has drifted.

    Returns:
        The files that were written or removed.
    """
    changed = drift(root, known)
    derived = {d.path: d.text for d in derive(root, known)}
    for path in changed:
        if path in derived:
            write_atomically(path, derived[path].encode())
        else:
            path.unlink()
    return changed


def stated_extra(root: Path) -> Requirement:
    """The requirement of the extra ``vllm``.

    Raises:
        UsageError: ``pyproject.toml`` has no such extra in a line of its own.
    """
    path = root / "pyproject.toml"
    found = _EXTRA.findall(_text(path))
    try:
        (line,) = found
        return Requirement(line)
    except (ValueError, InvalidRequirement) as error:
        msg = f'{path}: needs one line `vllm = ["vllm…"]` among the optional dependencies'
        raise UsageError(msg) from error


def inside(specifier: SpecifierSet, known: Sequence[Version]) -> tuple[Version, ...]:
    """The known releases that an installer may choose."""
    return tuple(version for version in known if specifier.contains(version, prereleases=True))


def specifier(supported: Sequence[Version], known: Sequence[Version]) -> SpecifierSet:
    """From the oldest to the newest release that belongs inside, without the holes between.

    Args:
        supported: The releases that belong inside, in order.
        known: All releases, in order.

    Raises:
        UsageError: Nothing belongs inside.
    """
    if not supported:
        msg = "no release of vLLM has the evidence that the policy demands, so there is no extra"
        raise UsageError(msg)
    oldest, newest = supported[0], supported[-1]
    if oldest == newest:
        return SpecifierSet(f"=={oldest}")
    holes = [v for v in known if oldest < v < newest and v not in supported]
    return SpecifierSet(",".join([f">={oldest}", f"<={newest}", *(f"!={hole}" for hole in holes)]))


def _with_extra(path: Path, known: Inventory) -> str:
    stated = stated_extra(path.parent).specifier
    wanted = specifier(known.supported, known.known)
    if stated == wanted:
        return _text(path)
    line = f'vllm = ["vllm{",".join(map(str, sorted(wanted, key=_as_written)))}"]'
    return _EXTRA.sub(lambda _: line, _text(path))


def _as_written(clause: Specifier) -> tuple[int, Version]:
    return _CLAUSES.index(clause.operator), Version(clause.version)


def _with_table(path: Path, table: str) -> str:
    text = _text(path)
    before, begin, rest = text.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        msg = f"{path}: has no place for the table, between {TABLE_BEGIN} and {TABLE_END}"
        raise UsageError(msg)
    return f"{before}{begin}\n{table}{end}{after}"


def _badges(root: Path, known: Inventory) -> Iterator[Derived]:
    for series in list_series(known.candidates):
        badge = readme.badge(series, known)
        text = json.dumps(badge.endpoint(), ensure_ascii=False) + "\n"
        yield Derived(root / BADGES / f"vllm-{series}.json", text)


def _leftover(root: Path, derived: Sequence[Derived]) -> list[Path]:
    expected = {d.path for d in derived}
    return [p for p in sorted((root / BADGES).glob("*.json")) if p not in expected]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error})"
        raise UsageError(msg) from error
