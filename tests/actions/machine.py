"""What a job runs on: folders and an environment of its own, as a fresh runner has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.actions.records import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEPT = {"PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "TERM", "TMPDIR", "XDG_CACHE_HOME"}
# Where this machine finds packages, images and the Pythons; what a runner's image brings.
_KEPT |= {"PYENV_ROOT", "VALUE_STEER_BASE_IMAGE", "VALUE_STEER_CACHE"}
_KEPT |= {"GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR", "SSL_CERT_FILE"}
_KEPT_LIKE = re.compile(
    r"(LC|PIP|UV|DOCKER)_\w+|npm_config_\w+|\w+_CA_BUNDLE|\w+_proxy", re.IGNORECASE
)

# As Actions calls a step's shell: the default, and what `shell: bash` stands for.
_SHELLS = {
    "": ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
}
_FILES = ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY")


@dataclass(frozen=True, slots=True)
class Script:
    """A shell step, with all expressions filled in.

    Attributes:
        text: What the shell reads.
        shell: Empty or ``bash``.
        variables: The step's own.
        action: Folder of the own action that it is a part of.
    """

    text: str
    shell: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    action: Path | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended.

    Attributes:
        status: Its exit status.
        outputs: What it has set, even if it failed.
    """

    status: int
    outputs: dict[str, str]


@dataclass(slots=True)
class Machine:
    """The machine of one job.

    Attributes:
        folder: For everything of the job.
        source: The repository, at the commit that runs.
        base: The environment that every script starts with.
        variables: What earlier steps have added to it.
        path: What earlier steps have put before ``PATH``.
    """

    folder: Path
    source: Path
    base: Mapping[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for made in (self.workspace, self.temp, self.logs):
            made.mkdir(parents=True)

    @property
    def workspace(self) -> Path:
        """Where scripts run, empty until something is checked out."""
        return self.folder / "workspace"

    @property
    def temp(self) -> Path:
        """For files that no step needs to name."""
        return self.folder / "temp"

    @property
    def logs(self) -> Path:
        """What each step has printed."""
        return self.folder / "logs"

    def run(self, script: Script, log: Path) -> Ran:
        """Run a script, and take up what it leaves for later steps.

        Raises:
            StepError: Its shell is not known, or what it leaves cannot be read.
        """
        if script.shell not in _SHELLS:
            msg = f"shell: {script.shell}: not known to this runner"
            raise StepError(msg)
        files = {name: self.temp / f"{log.stem}.{name.lower()}" for name in _FILES}
        for path in files.values():
            path.touch()
        written = self.temp / f"{log.stem}.sh"
        written.write_text(script.text, encoding="utf-8")
        with log.open("ab") as stream:
            done = subprocess.run(
                [*_SHELLS[script.shell], str(written)],
                cwd=self.workspace,
                env=self._environment(script, files),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        self.variables |= pairs(files["ENV"])
        added = files["PATH"].read_text(encoding="utf-8").split("\n")
        self.path[:0] = [line for line in reversed(added) if line]
        return Ran(done.returncode, pairs(files["OUTPUT"]))

    def _environment(self, script: Script, files: Mapping[str, Path]) -> dict[str, str]:
        told = {f"GITHUB_{name}": str(path) for name, path in files.items()}
        told |= {"GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temp)}
        if script.action is not None:
            told["GITHUB_ACTION_PATH"] = str(script.action)
        found = {**self.base, **self.variables, **dict(script.variables), **told}
        return {**found, "PATH": os.pathsep.join([*self.path, found["PATH"]])}


def environment(given: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """What a job starts with: little of this process's environment, and what Actions adds.

    ``GITHUB_ACTIONS`` is not set: what a job records about itself says that it ran here.
    """
    kept = {k: v for k, v in given.items() if k in _KEPT or _KEPT_LIKE.fullmatch(k)}
    own = str(Path(sys.prefix, "bin"))
    # The environment that this runs in is none of the job's.
    path = [part for part in kept.get("PATH", os.defpath).split(os.pathsep) if part != own]
    system = {"CI": "true", "RUNNER_OS": "Linux", "PATH": os.pathsep.join(path)}
    return {**kept, **system, **told}


def repository_variables(given: Mapping[str, str]) -> dict[str, str]:
    """The context ``vars``: pip's settings, which a workflow passes on, are this machine's."""
    return {name: text for name, text in given.items() if name.startswith("PIP_")}


def pairs(path: Path) -> dict[str, str]:
    """What a script has written as ``NAME=VALUE``, or ``NAME<<END``, lines and ``END``.

    Raises:
        StepError: A line is neither.
    """
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    found = {}
    for line in lines:
        name, equals, text = line.partition("=")
        block, arrows, end = line.partition("<<")
        if arrows and len(block) < len(name):
            within = [*_until(lines, end, path.name)]
            found[block] = "\n".join(within)
        elif equals and name:
            found[name] = text
        elif line:
            msg = f"{path.name}: {line!r} is not NAME=VALUE"
            raise StepError(msg)
    return found


def _until(lines: Iterator[str], end: str, name: str) -> Iterator[str]:
    for line in lines:
        if line == end:
            return
        yield line
    msg = f"{name}: {end!r} does not come"
    raise StepError(msg)
