"""Releases that are not installed: which are read, what is told of them, what changed."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.contracts.release_server import Server
from value_steer import compat_check
from value_steer.contracts.history import releases, snapshot, sweep, text
from value_steer.contracts.history.releases import Selection, Sweep
from value_steer.contracts.history.snapshot import ContractState, Snapshot
from value_steer.contracts.report import Status
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.archive import archive_tree
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

ROW = "sampler_output.fields"
WHEELS = [Server(b"", ranges=True).wheel(v, sha256=v) for v in ("0.18.0", "0.19.0", "0.20.0")]


def snap(version: str, shape: str | None, status: Status = Status.OK) -> Snapshot:
    """A snapshot of a single row."""
    state = ContractState(ROW, status, "" if shape else "it is gone", shape)
    return Snapshot(version, RunnerDefault(Rule.V2), (state,))


OLD, SAME = snap("0.19.0", "fields a, b"), snap("0.19.1", "fields a, b")
NEW = snap("0.20.0", "fields a, c")
GONE = snap("0.21.0", None, Status.MISSING_SYMBOL)
FOUND = Sweep((Mode.ABSTAIN,), (OLD, SAME, NEW, GONE), ("Llama",))


@pytest.mark.parametrize(
    ("selection", "versions"),
    [
        (Selection(exact="0.19.0"), ["0.19.0"]),
        (Selection(since="0.19"), ["0.19.0", "0.20.0"]),
        (Selection(since="0.18", until="0.19.0"), ["0.18.0", "0.19.0"]),
        (Selection(), ["0.20.0"]),
    ],
)
def test_selection(selection: Selection, versions: list[str]) -> None:
    """One release, all from one on, or the newest to compare with."""
    assert [str(w.version) for w in releases.select(selection, WHEELS)] == versions


@pytest.mark.parametrize("name", ["0.19.7", "newest"])
@pytest.mark.parametrize("selection", [Selection(since="0.19"), Selection()], ids=["some", "one"])
def test_a_release_that_is_not_there_is_refused(name: str, selection: Selection) -> None:
    """Never the nearest one."""
    asked = replace(selection, until=name) if selection.since else replace(selection, exact=name)

    with pytest.raises(ContractError):
        releases.select(asked, WHEELS)


def test_changes_are_told_once_and_for_the_first_release() -> None:
    """A row that stays the same is no change; what it was and is stand side by side."""
    found = [(c.version, c.before.shape, c.after.shape) for c in FOUND.changes]

    assert found == [("0.20.0", "fields a, b", "fields a, c"), ("0.21.0", "fields a, c", None)]


def test_the_text_has_a_table_what_is_broken_and_what_changed() -> None:
    """Fields are told as gained and lost; a broken row says what depends on it."""
    lines = list(text.lines(FOUND))

    assert lines[0].split() == ["vLLM", "abstain/v1", "abstain/v2", "Llama"]
    assert lines[4].split() == ["0.21.0", "BROKEN", "no", "rows", "v2"]
    assert lines[5].startswith(f"0.21.0: {ROW}: it is gone [used by value_steer.")
    assert lines[6] == f"changed in 0.20.0: {ROW}: fields +c -b"
    assert lines[7] == (
        f"changed in 0.21.0: {ROW}: fields a, c → missing_symbol (it is gone) "
        f"[must change: {releases.USED_BY[ROW]}]"
    )
    assert lines[8].startswith(
        f"{len(FOUND.rows) - 1} of {len(FOUND.rows)} contracts look the same"
    )
    assert lines[9] == f"  0.20.0: {ROW}"
    assert len(lines) == 10


def test_rows_of_one_symbol_that_change_together_are_one_line() -> None:
    """A field that a configuration gains is not told once for every row on it."""
    rows = ("scheduler_config.max_num_seqs", "scheduler_config.scheduler", "vllm_config.fields")
    history = [
        Snapshot(v, RunnerDefault(Rule.V2), tuple(ContractState(r, Status.OK, "", s) for r in rows))
        for v, s in (("0.19.0", "fields a"), ("0.20.0", "fields a, b"))
    ]
    found = Sweep((Mode.VFD,), tuple(history), ())

    assert list(text.change_lines(found.changes)) == [
        f"changed in 0.20.0: {rows[0]}, {rows[1]}: fields +b",
        f"changed in 0.20.0: {rows[2]}: fields +b",
    ]


def test_json_has_every_release() -> None:
    """The same facts for other programs."""
    body = releases.to_json(FOUND)
    told = body["releases"]

    assert body["ok"] is False
    assert isinstance(told, list)
    assert told[0]["contracts"] == {"abstain": {"v1": True, "v2": None}}
    assert told[0]["runner_default"]["of"] == {"Llama": "v2"}
    assert body["first_changes"] == {**dict.fromkeys(sorted(FOUND.rows)), ROW: "0.20.0"}
    assert [change["must_change"] for change in body["changes"]] == [False, True]  # type: ignore[attr-defined]
    assert json.loads(json.dumps(body))["ok"] is False


def test_a_snapshot_reads_back(tmp_path: Path) -> None:
    """What is kept is what was taken; what cannot be read is not there."""
    path = tmp_path / "kept.json"
    assert snapshot.load(path) is None
    kept = GONE
    path.write_bytes(snapshot.dump(kept))
    assert snapshot.load(path) == kept
    path.write_text("[]", encoding="utf-8")
    assert snapshot.load(path) is None


def test_a_sweep_takes_each_release_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second sweep reads nothing but what the first one kept."""
    taken = []

    def take(tree: object) -> Snapshot:
        taken.append(tree)
        return OLD

    monkeypatch.setattr(snapshot, "take", take)
    monkeypatch.setattr(WheelTree, "prefetch", lambda *_: None)
    for _ in range(2):
        assert sweep.sweep(WHEELS[:1], IndexSettings(), tmp_path) == (OLD,)

    assert len(taken) == 1


def tarball(path: Path, files: dict[str, str]) -> Path:
    """A tarball with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_an_unreleased_tree_is_compared_with_the_newest_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tarball of a branch comes last, under the name unreleased."""
    path = tarball(tmp_path / "main.tar.gz", {"vllm-main/vllm/__init__.py": ""})
    monkeypatch.setattr(pip_config, "pip_settings", IndexSettings)
    monkeypatch.setattr(index, "project_wheels", lambda *_: tuple(WHEELS))
    newest = snapshot.take(archive_tree(path))
    monkeypatch.setattr(releases, "sweep", lambda *_: (newest,))

    code = compat_check.main(["--against", str(path)])

    assert code == compat_check.ExitCode.BROKEN
    assert "\nunreleased  BROKEN" in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["", "./", "vllm-main/"])
def test_a_tarball_is_read_wherever_the_package_is(prefix: str, tmp_path: Path) -> None:
    """Only Python files of the package count."""
    files = {
        f"{prefix}vllm/__init__.py": "",
        f"{prefix}vllm/_version.py": "__version__ = '9.9.9'",
        f"{prefix}vllm/data.bin": "x",
        f"{prefix}tests/vllm/test.txt": "x",
    }
    tree = archive_tree(tarball(tmp_path / "main.tar.gz", files))

    assert tree.version() == "9.9.9"
    assert tree.read("vllm/data.bin") is None


def test_what_is_no_tarball_of_vllm_is_refused(tmp_path: Path) -> None:
    """Another file, or a tarball of something else, is named."""
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"no tarball")
    with pytest.raises(ContractError, match="cannot be read as a tarball"):
        archive_tree(other)
    with pytest.raises(ContractError, match="no vLLM in"):
        archive_tree(tarball(tmp_path / "empty.tar.gz", {"readme.py": ""}))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--all", "--since", "0.19"],
        ["--source", "a", "--against", "b"],
        ["--architecture", "Llama"],
    ],
)
def test_arguments_that_contradict_are_refused(arguments: list[str]) -> None:
    """Nothing that was asked for is silently left out."""
    with pytest.raises(SystemExit) as stopped:
        compat_check.main(arguments)

    assert stopped.value.code == compat_check.ExitCode.NOT_CHECKED


def test_a_runner_without_rows_has_no_verdict() -> None:
    """Nothing that was not looked at is called good."""
    assert OLD.holds(Mode.ABSTAIN, Runner.V1) is True
    assert OLD.holds(Mode.ABSTAIN, Runner.V2) is None
    assert GONE.holds(Mode.ABSTAIN, Runner.V1) is False


def test_one_wheel_that_cannot_be_read_costs_itself_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are told of, it is named with the reason, and the status is not 0."""
    monkeypatch.setenv("VALUE_STEER_CACHE", str(tmp_path))
    monkeypatch.setattr(pip_config, "pip_settings", IndexSettings)
    monkeypatch.setattr(index, "project_wheels", lambda *_: tuple(WHEELS))
    monkeypatch.setattr(sweep, "_MOST_WORKERS", 1)
    monkeypatch.setattr(WheelTree, "prefetch", lambda *_: None)

    def take(tree: WheelTree) -> Snapshot:
        if tree.version() == "0.19.0":
            msg = "vllm-0.19.0.whl: vllm/a.py cannot be read: Bad CRC-32"
            raise ContractError(msg)
        return snap(tree.version(), "fields a, b")

    monkeypatch.setattr(snapshot, "take", take)

    assert compat_check.main(["abstain", "--since", "0.18"]) == 2
    out = capsys.readouterr().out
    assert "0.19.0: not checked: vllm-0.19.0.whl: vllm/a.py cannot be read: Bad CRC-32" in out
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["0.18.0", "0.20.0"]
    assert compat_check.main(["--since", "0.18", "--json"]) == 2
    (unread,) = json.loads(capsys.readouterr().out)["unread"]
    assert unread["version"] == "0.19.0"
    assert compat_check.main(["--vllm", "0.19.0"]) == 2
    assert "Bad CRC-32" in capsys.readouterr().err
