"""Tests of how the lane of a machine is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.cell import gpu
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
