"""Artifacts: which files a path names, under which names they are kept, and where they come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.actions import artifacts
from tests.actions.artifacts import Store
from tests.actions.records import StepError

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("out/plan.json", "out/a/x.log", "out/b/y.xml", "out/b/deep/z.log", "out/.nox/n.log")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with files, in a folder whose name could be taken for a pattern."""
    folder = tmp_path / "work[1]"
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Without artifacts."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return Store(folder)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("out/plan.json", {"plan.json"}),
        ("out/plan*", {"plan.json"}),
        ("out/b", {"y.xml", "deep/z.log"}),
        ("out/*/*.log\nout/*/*.xml\n", {"a/x.log", "b/y.xml"}),
        ("out/a\nout/b/deep\n", {"a/x.log", "b/deep/z.log"}),
        ("out/b\nout/b/deep\n", {"y.xml", "deep/z.log"}),
        ("out/a/x.log\nout/plan.json\n", {"a/x.log", "plan.json"}),
        ("out/**/*.log", {"a/x.log", "b/deep/z.log"}),
        ("out/none", set()),
        ("out/*/*.none\n", set()),
    ],
)
def test_names_start_below_what_all_lines_share(workspace: Path, path: str, kept: set[str]) -> None:
    """A single file has no folder; folders are kept whole; what is hidden stays behind."""
    found = artifacts.find(workspace, path)

    assert {file.relative_to(found.root).as_posix() for file in found.files} == kept


def test_an_absolute_path_is_taken_as_it_is(workspace: Path, tmp_path: Path) -> None:
    """Such as one below RUNNER_TEMP."""
    elsewhere = tmp_path / "temp"
    elsewhere.mkdir()
    (elsewhere / "a.xml").touch()

    assert artifacts.find(workspace, str(elsewhere / "*.xml")).files == (elsewhere / "a.xml",)
    assert artifacts.find(workspace, str(workspace / "out" / "a" / "*")).root.name == "a"


@pytest.mark.parametrize("path", ["", "out\n!out/a"])
def test_a_path_of_another_form_is_refused(workspace: Path, path: str) -> None:
    """None of the workflows has one."""
    with pytest.raises(StepError, match="not known to this runner"):
        artifacts.find(workspace, path)


def test_an_artifact_comes_out_under_its_names(
    workspace: Path, store: Store, tmp_path: Path
) -> None:
    """By its name into the folder itself, by a pattern into a folder of its own."""
    target = tmp_path / "target"
    logs = artifacts.find(workspace, "out/*/*.log\nout/*/*.xml")
    store.put("fragment-a-1", artifacts.find(workspace, "out/plan.json"), overwrite=False)
    store.put("logs-a-1", logs, overwrite=False)

    assert store.take("logs-a-1", target) == 2
    assert store.take_all("fragment-*", target) == ["fragment-a-1"]
    assert store.take_all("none-*", target) == []
    assert (target / "a" / "x.log").read_text("utf-8") == "out/a/x.log"
    assert (target / "fragment-a-1" / "plan.json").is_file()
    assert len([path for path in target.rglob("*") if path.is_file()]) == 3


def test_a_name_is_used_once_unless_it_is_to_be_overwritten(workspace: Path, store: Store) -> None:
    """And then nothing of the former artifact is left."""
    store.put("a", artifacts.find(workspace, "out/a"), overwrite=False)
    other = artifacts.find(workspace, "out/plan.json")

    with pytest.raises(StepError, match="is there already"):
        store.put("a", other, overwrite=False)
    store.put("a", other, overwrite=True)

    assert [path.name for path in (store.folder / "a").iterdir()] == ["plan.json"]


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "../a"])
def test_a_name_that_github_refuses_is_refused(workspace: Path, store: Store, name: str) -> None:
    """It would be a folder elsewhere."""
    with pytest.raises(StepError, match="cannot be the name"):
        store.put(name, artifacts.find(workspace, "out/a"), overwrite=True)


def test_an_artifact_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    """The step that wants it fails."""
    with pytest.raises(StepError, match="no artifact with the name 'plan'"):
        store.take("plan", tmp_path)
