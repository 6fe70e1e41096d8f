"""Files that were cut off or changed on the disk, folders that are closed, clocks that jump."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import torch

from compat.errors import CompatError, ReportError
from compat.registry import fragments, store
from tests.compat.cells import FORMER
from tests.compat.samples import passed
from tests.evaluation.traces import exact, written
from tests.faults.jobs import Capture, HeadSave, Job, Label, RegistryWriter, Train, fresh
from value_steer.errors import ValueSteerError
from value_steer.features import FeatureCache
from value_steer.labels.store import read_labels
from value_steer.records.files import write_atomically
from value_steer.trajectories import read_trajectories
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS = (ValueSteerError, CompatError)
TRIALS = int(os.environ.get("VALUE_STEER_FAULTS", "60"))
"""Files that are damaged of each kind; a larger number is for a longer run."""


def _cache(folder: Path) -> Path:
    Label().prepare(folder)
    Label().work(folder, lambda _: None)
    return folder / "features"


def _head(folder: Path, suffix: str) -> Path:
    torch.manual_seed(0)
    file = folder / f"h{suffix}"
    save_value_head(file, ValueHead(4), HeadCard(4, scores=Polarity.P_GOOD))
    return file


def _registry(folder: Path) -> Path:
    RegistryWriter().prepare(folder)
    for n in range(3):
        store.append(folder / "r.json", [passed(recorded_at=f"2020-05-06T07:09:1{n}Z")])
    return folder


def _fragment(folder: Path) -> Path:
    fragments.write(folder / "fragment.json", FORMER)
    return folder / "fragment.json"


def _gathered(path: Path) -> tuple[Any, ...]:
    found = fragments.gather(path.parent)
    if found.problems:
        assert not found.rows
        raise ReportError(found.problems[0])
    return found.rows


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "features": (_cache, lambda path: [*FeatureCache.open(path)]),
    "labels": (_cache, lambda path: read_labels(FeatureCache.open(path), "regex")),
    "head .safetensors": (lambda folder: _head(folder, ".safetensors"), load_value_head),
    "head .pt": (lambda folder: _head(folder, ".pt"), load_value_head),
    "registry": (_registry, lambda folder: store.load_all(folder / "r.json")),
    "fragment": (_fragment, _gathered),
    "trajectories": (
        lambda folder: written(folder / "t.jsonl", exact(20)),
        lambda path: [*read_trajectories(path)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_our_error(kind: str, tmp_path: Path) -> None:
    """Cut off, or with bytes changed anywhere: it is read as it was, or refused by name."""
    make, load = KINDS[kind]
    (tmp_path / "good").mkdir()
    path = make(tmp_path / "good")
    chance = random.Random(kind)  # noqa: S311
    refused = 0
    for _ in range(TRIALS):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        files = sorted(p for p in (tmp_path / "bad").rglob("*") if p.is_file() and p.stat().st_size)
        victim = chance.choice(files)
        victim.write_bytes(_damaged(victim.read_bytes(), chance))
        try:
            load(tmp_path / "bad" / path.relative_to(tmp_path / "good"))
        except OURS as error:
            refused += 1
            assert str(tmp_path) in str(error) or victim.name in str(error)  # noqa: PT017
    assert refused


def _damaged(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    kind = chance.randrange(4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    if kind == 2:
        return content[:at] + b"\0" * (len(content) - at)  # blocks that never reached the disk
    return content[:at] + chance.randbytes(20) + content[at:]


def test_a_damaged_state_of_training_is_our_error(tmp_path: Path) -> None:
    """A training that is resumed from a file that was cut off says which file it is."""
    job = Train()
    fresh(job, tmp_path / "x")
    job.work(tmp_path / "x", lambda _: None)
    states = [p for p in (tmp_path / "x").rglob("*") if p.is_file() and "h.pt" in p.name]
    assert states
    for state in states:
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    try:
        job.work(tmp_path / "x", lambda _: None)
    except OURS:
        return
    job.check(tmp_path / "x", {"trained"})


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder is closed by being another user's")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("job", [RegistryWriter(), Capture(), Label()], ids=lambda job: job.name)
def test_a_folder_that_is_closed_is_one_clear_error(job: Job, tmp_path: Path) -> None:
    """Nothing in it is changed, and the message names it."""
    job.work(fresh(job, tmp_path / "open"), lambda _: None)  # the other user may import nothing
    folder = fresh(job, tmp_path / "x")
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.seteuid(65534)
        try:
            job.work(folder, lambda _: None)
            told = "it was written"
        except (*OURS, OSError) as error:
            told = f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001  (the parent says what it was)
            told = f"escaped {type(error).__name__}"
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    told = os.read(reader, 1000).decode()

    os.close(reader)
    assert "escaped" not in told
    assert "written" not in told
    assert {p: p.read_bytes() for p in before} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


@pytest.mark.parametrize(
    "job", [RegistryWriter(), Capture(), Label(), HeadSave(".pt")], ids=lambda job: job.name
)
def test_a_full_disk_loses_nothing(
    job: Job, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says that there is no space; with space again the next run does the rest."""
    undisturbed = fresh(job, tmp_path / "undisturbed")
    job.work(undisturbed, lambda _: None)
    for room in (0, 1, 2, 4, 8):  # blocks of 4 KiB that are left to it
        folder = fresh(job, small_disk / "x")
        blocks = os.statvfs(small_disk).f_bavail
        (small_disk / "ballast").write_bytes(b"\0" * 4096 * max(0, blocks - room))
        told: set[str] = set()
        capsys.readouterr()
        try:
            job.work(folder, told.add)
        except (*OURS, OSError) as error:
            said = f"{error} {capsys.readouterr().err}"
            assert "No space left" in said
        else:
            assert room
        job.check(folder, told)
        (small_disk / "ballast").unlink()
        job.work(folder, told.add)
        job.check(folder, told)
        assert job.result(folder) == job.result(undisturbed)


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(minutes=4), timedelta(days=400)])
def test_a_clock_that_jumps_loses_no_row(
    jump: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back: the row is kept, and is not the newest. Ahead: it is refused, or within tolerance."""
    RegistryWriter().prepare(tmp_path)
    now = datetime.now(timezone.utc)
    at = (now + jump).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = replace(passed(recorded_at=at), seconds=1.0)
    if jump > timedelta(hours=1):
        with pytest.raises(CompatError, match="in the future; set this machine's clock"):
            store.append(tmp_path / "r.json", [row])
        row = replace(row, recorded_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"))

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + abs(jump)

    monkeypatch.setattr(store, "datetime", Jumped)
    store.append(tmp_path / "r.json", [row])
    assert {*store.load_all(tmp_path / "r.json")} == {*FORMER, row}


def test_a_lock_that_was_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """What a killed process leaves is a file, and the lock itself went with the process."""
    job = RegistryWriter()
    job.prepare(tmp_path)
    (tmp_path / ".r.json.lock").write_text("4194304", encoding="utf-8")

    job.work(tmp_path, lambda _: None)
    job.check(tmp_path, {row.record_id for row in job.rows})


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A folder is made if it can be; a file where one should be is an error that names it."""
    write_atomically(tmp_path / "new" / "x", b"1")
    assert (tmp_path / "new" / "x").read_bytes() == b"1"
    with pytest.raises(OSError, match="new/x"):
        write_atomically(tmp_path / "new" / "x" / "y", b"1")
