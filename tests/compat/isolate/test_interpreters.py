"""Which Python a virtual environment is made from."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import pytest

from compat.errors import UsageError
from compat.isolate import interpreters
from compat.isolate.interpreters import Interpreter

if TYPE_CHECKING:
    from pathlib import Path

OWN = ".".join(platform.python_version_tuple()[:2])


def stand_in(folder: Path, script: str) -> None:
    """Put a ``python3.99`` into a folder."""
    path = folder / "python3.99"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_current_python_is_taken_for_its_own_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ``PATH`` has."""
    monkeypatch.setenv("PATH", "")

    assert interpreters.find(OWN) == Interpreter(sys.executable, platform.python_version())


def test_another_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What counts is what it says of itself; one of pyenv's shims is told which it is to start."""
    answer = """echo "[\\"/opt/$PYENV_VERSION/python\\", \\"3.99.2\\"]\""""
    stand_in(tmp_path, answer)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = interpreters.find("3.99")

    assert found == Interpreter("/opt/3.99/python", "3.99.2")
    assert found.series == "3.99"


@pytest.mark.parametrize("script", [None, "exit 127"])
def test_a_python_that_cannot_be_started_is_missing(
    script: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """None is there, or a shim of pyenv stands for one that is not installed."""
    if script is not None:
        stand_in(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UsageError, match=r"no python3\.99 can be started"):
        interpreters.find("3.99")


@pytest.mark.parametrize("series", ["3", "3.12.1", "python3.12", "2.7"])
def test_a_python_is_named_by_its_series(series: str) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match="the series alone"):
        interpreters.find(series)
