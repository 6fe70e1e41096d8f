"""What is wrong with outputs, devices and disks is told before the first expensive step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.features.samples import HIDDEN, features
from value_steer import cli
from value_steer.cli import places
from value_steer.errors import SettingsError
from value_steer.features import CacheSpec, FeatureCache, space
from value_steer.features.errors import FeatureCacheError
from value_steer.training.device import require_device
from value_steer.training.loop import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

TRAIN = "train features --labels given --recipe abstention"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with labelled features, in which no head can be trained."""

    def no_training(*_: Any, **__: Any) -> None:
        pytest.fail("training began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "fit", no_training)
    cache = FeatureCache.create("features", CacheSpec(HIDDEN))
    cache.add([features(f"p{i}") for i in range(24)])
    rows = [{"prompt_id": f"p{i}", "sample": 0, "label": float(i % 2)} for i in range(24)]
    Path("labels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    label = "label features --by column --file labels.jsonl --name given"
    assert cli.main(label.split()) == 0
    return tmp_path


def _with_file(folder: Path) -> None:
    (folder / "a-file").touch()


def _with_folder(folder: Path) -> None:
    (folder / "head.pt").mkdir()


def _nothing(_: Path) -> None:
    """All is there."""


@pytest.mark.parametrize(
    ("options", "prepare", "words"),
    [
        ("--out x.pth", _nothing, "unknown suffix '.pth'; use .safetensors, .pt or .bin"),
        ("--out none/x.pt", _nothing, "there is no folder none; make it first"),
        ("--out head.pt", _with_folder, "no regular file; name a file"),
        ("--out a-file/x.pt", _with_file, "there is no folder a-file"),
        ("--out /proc/x.pt", _nothing, "cannot write to /proc"),
        ("--device gpu", _nothing, "device = 'gpu' cannot be used here"),
        ("--device cuda:99", _nothing, "device = 'cuda:99' cannot be used here"),
        ("--device meta", _nothing, "device = 'meta' cannot be used here"),
    ],
)
def test_training_does_not_begin(
    folder: Path,
    options: str,
    prepare: Callable[[Path], None],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With an output, or on a device, that cannot be used."""
    prepare(folder)

    assert cli.main([*TRAIN.split(), *options.split()]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not list(folder.glob("*.state"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("capture labels.jsonl --model model --out model", "--model is read from there"),
        ("convert head.pt --out ./head.pt", "file is read from there"),
        ("evaluate --trajectories labels.jsonl --out labels.jsonl", "is no folder"),
        ("evaluate --trajectories labels.jsonl --out labels.jsonl/x", "labels.jsonl is a file"),
        ("demo --out /proc/demo", "cannot write to /proc"),
        ("label read-only --by maths", "cannot write to read-only"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_an_output_is_no_input_and_can_be_written(
    command: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever way its path is written."""
    Path("model").mkdir()
    Path("model/config.json").write_text("{}", encoding="utf-8")
    Path("head.pt").write_bytes(b"x")
    Path("read-only").symlink_to("/proc/self/fd")  # a folder in which nobody can write
    monkeypatch.setattr(places, "FEATURES", places.FOLDER)

    assert cli.main(command.split()) == 2
    assert words in capsys.readouterr().err


def test_an_input_behind_a_link_is_still_the_input(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be written over all the same."""
    (folder / "head.pt").write_bytes(b"x")
    (folder / "link.pt").symlink_to("head.pt")

    assert cli.main(["convert", "head.pt", "--out", "link.pt"]) == 2
    assert "file is read from there" in capsys.readouterr().err


def test_the_disk_must_hold_the_longest_responses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of states for each token, and one for the prompt."""
    cache = FeatureCache.create(tmp_path, CacheSpec(100, "bfloat16"))
    needed = 3 * (9 + 1) * 100 * 2

    def free(size: int) -> None:
        usage = SimpleNamespace(free=size)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    free(needed)
    space.require_space(cache, 3, 9)
    free(needed - 1)
    with pytest.raises(FeatureCacheError, match=r"3 responses of 9 tokens .*--any-disk"):
        space.require_space(cache, 3, 9)


def test_a_device_that_works_is_taken() -> None:
    """By any of its names."""
    require_device("cpu")
    require_device("cpu:0")
    with pytest.raises(SettingsError, match="use cpu, or cuda"):
        require_device("tpu9")
