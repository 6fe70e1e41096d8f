"""What must hold of the wheel where it is installed without torch; ``nox -s wheel`` runs this."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

HEAVY = ("numpy", "torch", "transformers", "vllm")


def main() -> None:
    """Check the installed package.

    Raises:
        AssertionError: It is not in this environment, or one of its parts is not as it must be.
        ModuleNotFoundError: A module needs what the package does not declare.
    """
    wheel = distribution("value-steer")
    commands = [entry.load() for entry in wheel.entry_points if entry.group == "console_scripts"]
    package = sys.modules["value_steer"]
    assert Path(str(package.__file__)).is_relative_to(sys.prefix), package.__file__
    assert len(commands) == 2, commands
    assert not sys.modules.keys() & set(HEAVY), "the commands start with what takes seconds"
    declared = {Requirement(line).name.replace("-", "_") for line in wheel.requires or ()}
    walked = pkgutil.walk_packages(package.__path__, "value_steer.")
    names = [module.name for module in walked if not module.name.endswith("__main__")]
    waiting = {name: missing for name in names if (missing := _missing(name))}
    assert waiting.keys() != set(names), "no module can be imported"
    strange = {name: missing for name, missing in waiting.items() if missing not in declared}
    assert not strange, strange
    print(f"Python {sys.version.split()[0]}: {len(names)} modules, {len(waiting)} wait for torch")


def _missing(name: str) -> str | None:
    """The absent package that a module needs, if it cannot be imported without one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return str(error.name).partition(".")[0]
    return None


if __name__ == "__main__":
    main()
