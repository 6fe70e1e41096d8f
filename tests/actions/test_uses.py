"""The stand-ins for the actions of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.actions import uses
from tests.actions.artifacts import Store
from tests.actions.machine import Machine
from tests.actions.records import ActionsError, StepError
from tests.actions.stand_ins import repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with one file in its workspace."""
    source = repository(tmp_path / "source", {"a.txt": "committed"})
    return Machine(tmp_path / "job", source, {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Without artifacts."""
    (tmp_path / "artifacts").mkdir()
    return Store(tmp_path / "artifacts")


def test_a_checkout_is_what_is_committed(machine: Machine, store: Store) -> None:
    """Whatever has been changed since; and on its branch."""
    (machine.source / "a.txt").write_text("changed", encoding="utf-8")

    uses.checkout(machine, store, {"persist-credentials": "false"})

    assert (machine.workspace / "a.txt").read_text("utf-8") == "committed"
    assert (machine.workspace / ".git" / "HEAD").read_text("utf-8") == "ref: refs/heads/main\n"


def test_a_folder_that_is_no_repository_cannot_be_checked_out(tmp_path: Path, store: Store) -> None:
    """The message is git's."""
    with pytest.raises(StepError, match="cannot be cloned: fatal"):
        uses.checkout(Machine(tmp_path / "job", tmp_path / "none", {}), store, {})


def test_a_python_that_is_not_here_is_named(machine: Machine, store: Store) -> None:
    """The step fails; no other Python stands in."""
    with pytest.raises(StepError, match=r"no Python 3\.99 on this machine"):
        uses.setup_python(machine, store, {"python-version": "3.99"})


def test_files_that_are_not_there_are_an_error_if_that_is_asked_for(
    machine: Machine, store: Store
) -> None:
    """Else there is a warning, and no artifact."""
    inputs = {"name": "a", "path": "out"}

    assert "warning" in uses.upload(machine, store, inputs)
    with pytest.raises(StepError, match="no files were found"):
        uses.upload(machine, store, {**inputs, "if-no-files-found": "error"})
    assert [*store.folder.iterdir()] == []


def test_what_is_uploaded_can_be_downloaded(machine: Machine, store: Store) -> None:
    """By name, or by a pattern."""
    uses.checkout(machine, store, {})
    uses.upload(machine, store, {"name": "a", "path": "a.txt", "overwrite": "true"})

    uses.download(machine, store, {"name": "a", "path": "named"})
    uses.download(machine, store, {"pattern": "*", "path": "all"})

    assert (machine.workspace / "named" / "a.txt").is_file()
    assert (machine.workspace / "all" / "a" / "a.txt").is_file()


@pytest.mark.parametrize("use", uses.USES.values())
def test_an_input_that_is_not_known_ends_the_run(
    machine: Machine, store: Store, use: Callable[[Machine, Store, dict[str, str]], str]
) -> None:
    """It may change everything."""
    with pytest.raises(ActionsError, match="merge-multiple: not known"):
        use(machine, store, {"merge-multiple": "true"})
