"""The one way in which whole files are written."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from value_steer.records.files import replacing, write_atomically

ROOT = Path(__file__).parents[1]


def names(folder: Path) -> set[str]:
    """What a folder holds."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("moment", ["written", "synced"])
def test_a_failure_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whenever it comes."""

    def fail(*_: object) -> None:
        raise OSError(moment)

    path = tmp_path / "file"
    write_atomically(path, b"before")
    if moment == "written":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OSError, match=moment):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == {"file"}


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Each writes to a file of its own; the one that ends last is seen, whole."""
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second, longer")

    assert path.read_bytes() == b"first"
    assert names(tmp_path) == {"file"}


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """For a file that is written at once."""
    write_atomically(tmp_path / "new" / "folder" / "file", b"content")

    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_has_its_name_on_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durable: bool,  # noqa: FBT001
) -> None:
    """The folder is synced, after the file has its name there."""
    synced = []

    def sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(tmp_path / "file", b"content", durable=durable)

    assert synced == [(False, False), (True, True)][: 1 + durable]


def test_there_is_one_atomic_writer() -> None:
    """No other module of the package or the machine moves a draft into its place."""
    others = [
        path.relative_to(ROOT).as_posix()
        for folder in ("value_steer", "compat")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "files.py" and _moves_a_file(path)
    ]

    assert others == []


def _moves_a_file(path: Path) -> bool:
    """Whether a module calls ``os.replace``, or ``replace`` or ``rename`` with one path alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            # Of text it takes two arguments, of a dataclass keywords as well.
            is_move = len(node.args) == 1 and not node.keywords
            is_move = is_move or owner in ("os", "shutil")
            if node.func.attr in ("replace", "rename", "move") and is_move:
                return True
    return False
