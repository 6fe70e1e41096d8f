"""Tests of how the lane of a machine is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.cell import gpu
from compat.cell.gpu import Gpus
from compat.errors import InfraError

if TYPE_CHECKING:
    from pathlib import Path


def install_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a script the machine's only nvidia-smi."""
    smi = folder / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("script", "lane"),
    [
        ("echo 9.0", "cuda-sm90"),
        ("echo 8.0; echo 8.0", "cuda-sm80"),
        ("echo 12.0", "cuda-sm120"),
        ("echo no devices were found; exit 6", "cpu"),
    ],
)
def test_the_lane_follows_the_first_gpu(
    script: str, lane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compute capability of the first GPU names the lane; a driver without one is a CPU."""
    install_smi(tmp_path, script, monkeypatch)
    assert gpu.lane() == lane


def test_a_machine_without_a_driver_is_the_cpu_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without nvidia-smi there is no GPU to use."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.lane() == "cpu"


@pytest.mark.parametrize("script", ["echo '[N/A]'", "true", "echo 9.0, MIG"])
def test_a_driver_that_makes_no_sense_is_an_infra_error(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capability that cannot be read never becomes a lane of its own name."""
    install_smi(tmp_path, script, monkeypatch)
    with pytest.raises(InfraError, match="no compute capability"):
        gpu.lane()


@pytest.mark.parametrize(
    ("script", "visible", "expected"),
    [
        ("echo 580.65.06", None, Gpus(1, "580.65.06")),
        ("echo 580.65.06; echo 580.65.06", None, Gpus(2, "580.65.06")),
        ("echo 580.65.06; echo 580.65.06", "1", Gpus(1, "580.65.06")),
        ("echo 580.65.06; echo 580.65.06", "0,1", Gpus(2, "580.65.06")),
        ("echo 580.65.06", "", Gpus(0, "580.65.06")),
        ("echo no devices were found; exit 6", None, Gpus(0, None)),
    ],
)
def test_the_gpus_that_cuda_may_use_are_counted(
    script: str,
    visible: str | None,
    expected: Gpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are hidden from it, the driver's tool shows all the same."""
    install_smi(tmp_path, script, monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.survey() == expected
