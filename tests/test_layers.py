"""Imports point inward, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "value_steer"
USER = PACKAGE / "demo" / "drive.py"
ENGINE_OF_CAPTURE = PACKAGE / "cli" / "vllm_engine.py"
"""A script in a process of its own, which stands for a user's; nothing imports it."""

HEAVY = ("torch", "vllm", "numpy", "transformers")
PURE = (
    "value_steer",
    "value_steer.versions",
    "value_steer.explain",
    "value_steer.contracts",
    "value_steer.compat_check",
    "value_steer.cli",
    "value_steer.labels",  # the processes that compare answers import it
)


def _imports(path: Path) -> set[str]:
    """Dotted names that a module imports, at whatever depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", PURE)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    """These modules work, and start fast, where neither torch nor vLLM is installed."""
    check = f"import sys, {module}; print(*(set(sys.modules) & {set(HEAVY)!r}))"

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.split() == []


def test_training_needs_no_more_than_the_core_install() -> None:
    """The extra ``train`` is for backbones, caches and progress bars."""
    extra = {"transformers", "filelock", "rich", "value_steer.features"}
    check = f"import sys, value_steer.train_probe; print(*(set(sys.modules) & {extra!r}))"

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.split() == []


def test_only_the_engine_imports_vllm() -> None:
    """No module outside engine/ names vLLM, not even for types, but those that stand for a user."""
    guilty = [
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path not in {USER, ENGINE_OF_CAPTURE}
        and "engine" not in path.parts
        and any(n.split(".")[0] == "vllm" for n in _imports(path))
    ]

    assert guilty == []


@pytest.mark.parametrize("module", ["value_steer.demo.drive", "value_steer.cli.vllm_engine"])
def test_nothing_imports_what_stands_for_a_user(module: str) -> None:
    """They are loaded when they are wanted, so that the rest works where vLLM is not installed."""
    assert [path for path in PACKAGE.rglob("*.py") if module in _imports(path)] == []


def test_the_package_never_imports_the_machine() -> None:
    """Compat may import value_steer, never the reverse."""
    guilty = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "compat" for name in _imports(path))
    ]

    assert guilty == []


def test_inner_layers_do_not_import_the_engine() -> None:
    """Only the worker's name outside of engine/ leads into it."""
    guilty = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if "engine" not in path.parts
        and path.name != "worker.py"
        and any(name.startswith("value_steer.engine") for name in _imports(path))
    ]

    assert guilty == []
