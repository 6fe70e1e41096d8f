"""Isolation in virtual environments, for machines without a container engine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from compat.errors import InfraError
from compat.isolate import environment, locks, outcome, processes
from compat.isolate.protocol import NO_ENV, Completed, Mounts, Prepared, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from compat.isolate.interpreters import Interpreter
    from compat.releases.policy import Policy

# What vLLM and its kernels need from the system beside its own settings.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_HOME", "CUDA_VISIBLE_DEVICES")
_COMPLETE = "value-steer-complete"
_REPORTS = "reports"
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


class VenvIsolation:
    """One virtual environment per recipe, made with plain ``venv`` and ``pip``."""

    kind = "venv"

    def __init__(self, policy: Policy, interpreter: Interpreter) -> None:
        self._policy = policy
        self._interpreter = interpreter
        self.python = interpreter.series

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:
        """See :meth:`compat.isolate.protocol.Isolation.prepare`."""
        start = time.monotonic()
        folder = workspace / "venvs" / _key(recipe, self._interpreter)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                reused = (folder / _COMPLETE).exists()
                if not reused:
                    limit = 60 * self._policy.timeout_minutes.prepare
                    _install(folder, recipe, self._interpreter, log, limit)
            reports = [path.read_text(encoding="utf-8") for path in _reports(folder)]
        except OSError as error:
            msg = f"the virtual environment cannot be made: {error}"
            raise InfraError(msg) from error
        installed = outcome.installed(reports, recipe)
        return Prepared(
            kind=self.kind,
            image_id=None,
            lock=installed.lock,
            wheel=installed.wheel,
            wheel_sha256=installed.wheel_sha256,
            seconds=time.monotonic() - start,
            reused=reused,
            folder=folder,
        )

    def discard(self, prepared: Prepared) -> None:
        """See :meth:`compat.isolate.protocol.Isolation.discard`."""
        assert prepared.folder is not None  # noqa: S101  (prepare sets it)
        try:
            shutil.rmtree(prepared.folder)
        except OSError as error:
            msg = f"the virtual environment cannot be removed: {error}"
            raise InfraError(msg) from error

    @contextlib.contextmanager
    def open(self, prepared: Prepared, mounts: Mounts) -> Iterator[VenvBox]:
        """See :meth:`compat.isolate.protocol.Isolation.open`."""
        assert prepared.folder is not None  # noqa: S101  (prepare sets it)
        # Short, because vLLM's sockets lie below it and their paths must stay below 108 bytes.
        with tempfile.TemporaryDirectory(prefix="vs-", ignore_cleanup_errors=True) as scratch:
            yield VenvBox(prepared.folder, mounts, Path(scratch))


class VenvBox:
    """Runs commands with the environment's Python, in a process session of their own."""

    def __init__(self, folder: Path, mounts: Mounts, scratch: Path) -> None:
        self._folder = folder.resolve()
        self._site = mounts.site.resolve()
        self._suite = mounts.suite.resolve()
        self._roots = (self._site, self._suite, mounts.out.resolve())
        self._scratch = scratch

    def inside(self, path: Path) -> str:
        """See :meth:`compat.isolate.protocol.Box.inside`: paths are the same here."""
        absolute = path.resolve()
        if not any(absolute.is_relative_to(root) for root in self._roots):
            msg = f"{path} is below none of the mounts {[str(root) for root in self._roots]}"
            raise ValueError(msg)
        return str(absolute)

    def run(
        self, argv: Sequence[str], *, log: Path, timeout: float, env: Mapping[str, str] = NO_ENV
    ) -> Completed:
        """See :meth:`compat.isolate.protocol.Box.run`."""
        bin_folder = self._folder / "bin"
        program = shutil.which(argv[0], path=str(bin_folder)) or argv[0]
        with log.open("wb") as stream:
            return processes.run(
                [program, *argv[1:]],
                cwd=self._suite,
                env={**self._environment(), **env},
                log=stream,
                timeout=timeout,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        path = (str(self._folder / "bin"), kept.get("PATH", os.defpath))
        return {
            **kept,
            **environment.variables(
                home=str(self._scratch / "home"), path=(str(self._site), str(self._suite))
            ),
            "PATH": os.pathsep.join(path),
            "TMPDIR": str(self._scratch),
            "VIRTUAL_ENV": str(self._folder),
        }


def _key(recipe: Recipe, interpreter: Interpreter) -> str:
    inputs = [asdict(recipe), interpreter.version, platform.machine()]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _reports(folder: Path) -> list[Path]:
    return sorted((folder / _REPORTS).glob("*.json"))


def _install(
    folder: Path, recipe: Recipe, interpreter: Interpreter, log: Path, timeout: float
) -> None:
    """Make the environment; what an interrupted run left of it is replaced."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / _REPORTS).mkdir(parents=True)
    deadline = time.monotonic() + timeout
    what = f"installing {recipe.distribution} {recipe.version}"
    with log.open("wb") as stream:
        for command in _commands(folder, recipe, interpreter):
            done = processes.run(
                command,
                cwd=folder.parent,
                env=os.environ,
                log=stream,
                timeout=deadline - time.monotonic(),
            )
            if done.timed_out:
                msg = f"{what} took longer than {timeout / 60:g} minutes; see {log}"
                raise InfraError(msg)
            if done.returncode != 0:
                raise outcome.failure(what, log)
    (folder / _COMPLETE).touch()


def _commands(folder: Path, recipe: Recipe, interpreter: Interpreter) -> list[list[str]]:
    """The same steps as in ``matrix/Containerfile``."""
    python, reports = str(folder / "bin" / "python"), folder / _REPORTS
    install = [python, *_PIP, "install", "--progress-bar", "off", "--no-deps", "--require-hashes"]
    requirements = folder / "lock.txt"
    requirements.write_text(locks.dumps(recipe.lock), encoding="utf-8")
    return [
        [interpreter.path, "-m", "venv", str(folder)],
        [*install, "--report", str(reports / "1.json"), "--requirement", str(requirements)],
    ]
