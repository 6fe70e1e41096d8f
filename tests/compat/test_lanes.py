"""A lane's name, and what it makes of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat import lanes
from compat.cell import host
from compat.cell.host import Options
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


@pytest.mark.parametrize(
    ("options", "gpus", "expected"),
    [
        (Options(sync_check="error"), 0, {}),
        (Options(), 1, {"GPUS": "1", "RANKS": "1", "GRAPHS": "1"}),
        (Options(eager=True), 2, {"GPUS": "2", "RANKS": "1"}),
        (Options(eager=True, ranks=2), 2, {"GPUS": "2", "RANKS": "2"}),
    ],
)
def test_what_the_suite_is_told_of_gpus(
    options: Options, gpus: int, expected: dict[str, str]
) -> None:
    """How many there are, and how engines run on them; nothing where there are none."""
    told = {f"VALUE_STEER_SUITE_{name}": value for name, value in expected.items()}

    assert host.variables(options, gpus) == told


def test_the_host_is_told_to_look_for_steps_that_wait_for_the_gpu() -> None:
    """By vLLM's own variable."""
    assert host.variables(Options(sync_check="error"), 1)["VLLM_GPU_SYNC_CHECK"] == "error"
