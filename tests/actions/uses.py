"""The actions of others that this runner stands in for; their inputs in these workflows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from compat.errors import UsageError
from compat.isolate import interpreters
from tests.actions import artifacts
from tests.actions.artifacts import Store
from tests.actions.machine import Machine
from tests.actions.records import ActionsError, StepError

if TYPE_CHECKING:
    from pathlib import Path

Inputs: TypeAlias = "Mapping[str, str]"
Use: TypeAlias = Callable[[Machine, Store, Inputs], str]


def checkout(machine: Machine, _store: Store, inputs: Inputs) -> str:
    """The commit in the workspace, without its history."""
    _known(inputs, {"persist-credentials"})
    clone(machine.source, machine.workspace)
    return f"cloned into {machine.workspace}"


def setup_python(machine: Machine, _store: Store, inputs: Inputs) -> str:
    """An environment of this Python, first on ``PATH``."""
    _known(inputs, {"python-version"})
    wanted = inputs["python-version"]
    try:
        found = interpreters.find(wanted)
    except UsageError as error:
        msg = f"no Python {wanted} on this machine ({error})"
        raise StepError(msg) from error
    folder = machine.folder / "python"
    _call([found.path, "-m", "venv", str(folder)], "the environment cannot be made")
    machine.path.insert(0, str(folder / "bin"))
    return f"Python {found.version} in {folder}"


def upload(machine: Machine, store: Store, inputs: Inputs) -> str:
    """Files under a name."""
    _known(inputs, {"name", "path", "if-no-files-found", "overwrite", "retention-days"})
    found = artifacts.find(machine.workspace, inputs["path"])
    if found.files:
        store.put(inputs["name"], found, overwrite=inputs.get("overwrite") == "true")
        return f"{len(found.files)} files in the artifact {inputs['name']}"
    msg = f"no files were found with {inputs['path'].split()}"
    if inputs.get("if-no-files-found") == "error":
        raise StepError(msg)
    return f"warning: {msg}; there is no artifact {inputs['name']}"


def download(machine: Machine, store: Store, inputs: Inputs) -> str:
    """One artifact, or each that matches a pattern in a folder of its own."""
    _known(inputs, {"name", "pattern", "path"})
    target = machine.workspace / inputs.get("path", "")
    if "name" in inputs:
        count = store.take(inputs["name"], target)
        return f"{count} files of the artifact {inputs['name']} in {target}"
    taken = store.take_all(inputs["pattern"], target)
    return f"{len(taken)} artifacts in {target}: {', '.join(taken)}"


USES: Mapping[str, Use] = {
    "actions/checkout": checkout,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload,
    "actions/download-artifact": download,
}


def clone(source: Path, target: Path) -> None:
    """Clone a repository's current commit; what is not committed stays behind."""
    command = ["git", "clone", "--quiet", "--depth", "1", source.as_uri(), str(target)]
    _call(command, f"{source} cannot be cloned")


def _call(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{failure}: {done.stderr.strip()[-1000:]}"
        raise StepError(msg)


def _known(inputs: Inputs, known: set[str]) -> None:
    if unknown := sorted(set(inputs) - known):
        msg = f"with: {', '.join(unknown)}: not known to this runner (tests/actions)"
        raise ActionsError(msg)
