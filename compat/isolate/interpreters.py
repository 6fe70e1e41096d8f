"""The Pythons of this machine, from which virtual environments are made."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass

from compat.errors import UsageError

_ASK = "import json, platform, sys; print(json.dumps([sys.executable, platform.python_version()]))"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can make virtual environments.

    Attributes:
        path: Its executable.
        version: Its full version, such as ``3.12.1``.
    """

    path: str
    version: str

    @property
    def series(self) -> str:
        """Its version without the patch: ``3.12``."""
        return ".".join(self.version.split(".")[:2])


def current() -> Interpreter:
    """The one that runs this."""
    return Interpreter(sys.executable, platform.python_version())


def find(series: str) -> Interpreter:
    """The current Python if it is of the series, else ``python<series>`` on ``PATH``.

    Args:
        series: Such as ``3.12``.

    Raises:
        UsageError: There is none, or ``series`` is not of that form.
    """
    if not re.fullmatch(r"3\.\d+", series):
        msg = f"--python {series}: give the series alone, such as 3.12"
        raise UsageError(msg)
    own = current()
    if own.series == series:
        return own
    # pyenv's shims stand on PATH for every Python, and start only one that is chosen.
    environment = {**os.environ, "PYENV_VERSION": series}
    try:
        done = subprocess.run(
            [f"python{series}", "-c", _ASK],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        msg = f"--python {series}: no python{series} can be started from PATH; install it first"
        raise UsageError(msg) from error
    return Interpreter(*json.loads(done.stdout))
