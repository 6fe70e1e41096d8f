"""A lane's name, and what it makes of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat import lanes
from compat.cell import host
from compat.checkout import ROOT, SUITE
from compat.errors import UsageError
from compat.isolate.protocol import Mounts
from compat.lanes import Lane

MOUNTS = Mounts(Path("site"), Path("suite"), Path("out"))


class Inside:
    """A box that sees its mounts below ``/box``."""

    def inside(self, path: Path) -> str:
        """As :meth:`compat.isolate.protocol.Box.inside`."""
        return f"/box/{path}"


@pytest.mark.parametrize("lane", [*lanes.OF_A_CPU, Lane("cuda-sm80"), Lane("tpu")])
def test_a_name_is_its_lane(lane: Lane) -> None:
    """Rows, plans and commands keep the name."""
    assert lanes.parse(str(lane)) == lane


@pytest.mark.parametrize("name", ["cpu-async-interpreted", "cpu-", "cpu-v2", "cpu-async-async"])
def test_a_cpu_has_four_lanes(name: str) -> None:
    """Another name is told which there are."""
    with pytest.raises(
        UsageError, match=r"are cpu, cpu-interpreted, cpu-async, cpu-interpreted-as"
    ):
        lanes.parse(name)


def test_every_stand_in_is_there() -> None:
    """A folder that has gone would leave its lane a copy of another."""
    for folder in lanes.STAND_INS:
        assert list((ROOT / SUITE / folder).glob("*.dist-info/entry_points.txt"))


@pytest.mark.parametrize(
    ("lane", "runner", "variables", "stand_ins"),
    [
        ("cpu", "default", {}, []),
        ("cpu", "v1", {"VLLM_USE_V2_MODEL_RUNNER": "0"}, []),
        ("cuda-sm80", "v2", {"VLLM_USE_V2_MODEL_RUNNER": "1"}, []),
        ("cpu-async", "default", {}, ["asynchronous"]),
        (
            "cpu-interpreted",
            "v2",
            {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"},
            ["interpreter"],
        ),
        (
            "cpu-interpreted-async",
            "v2",
            {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"},
            ["interpreter", "asynchronous"],
        ),
    ],
)
def test_what_a_lane_makes_of_the_host(
    lane: str, runner: str, variables: dict[str, str], stand_ins: list[str]
) -> None:
    """Which runner, whether its kernels are interpreted, and the stand-ins after the wheel."""
    path = ["site", "suite", *(f"suite/{SUITE}/{folder}" for folder in stand_ins)]
    expected = {"PYTHONPATH": ":".join(f"/box/{p}" for p in path)} if stand_ins else {}

    assert host.environment(runner, lane, MOUNTS, Inside()) == {**variables, **expected}  # type: ignore[arg-type]
