"""Many cells on one machine: their order, how many at a time, what is left, how they end."""

from __future__ import annotations

import os

import pytest

from compat.release import sweep
from compat.releases import matrix, policy
from compat.releases.candidates import load_candidates
from compat.releases.policy import CellKind
from tests.compat.release.pretended import cells, row
from tests.compat.samples import FAILED, VOID

KINDS = policy.load().cells
CPU = matrix.planned(load_candidates(), sweep.kinds("cpu", KINDS))


def test_a_machine_without_a_gpu_runs_every_lane_of_a_cpu() -> None:
    """The policy says which, and from which release on."""
    kinds = [(kind.lane, kind.runner) for kind in sweep.kinds("cpu", KINDS)]

    assert kinds == [
        ("cpu", "default"),
        ("cpu-async", "default"),
        ("cpu-interpreted", "v2"),
        ("cpu-interpreted-async", "v2"),
    ]
    lanes = {(cell.vllm, cell.lane) for cell in CPU}
    assert ("0.22.1", "cpu") in lanes
    assert ("0.22.1", "cpu-interpreted") not in lanes
    assert ("0.28.0", "cpu-interpreted") in lanes


def test_a_gpu_runs_its_own_lane() -> None:
    """What the policy says of another GPU holds for this one too, once."""
    policies = [*KINDS, CellKind("cuda-sm90", "default", "0.19.0")]

    assert sweep.kinds("cuda-sm90", policies) == (CellKind("cuda-sm90", "default", "0.19.0"),)


@pytest.mark.parametrize(
    ("cores", "lane", "jobs"),
    [(1, "cpu", 1), (2, "cpu", 1), (5, "cpu", 2), (64, "cpu", 4), (64, "cuda-sm80", 1)],
)
def test_cores_are_kept_busy(
    cores: int, lane: str, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell for two cores, which it keeps busy, as far as memory goes; a GPU is not shared."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    assert sweep.at_a_time(lane) == jobs


def test_what_tells_most_comes_first() -> None:
    """The newest and the oldest of each lane, what did not pass last, then by age."""
    names = ["0.19.0", "0.20.0", "0.21.0", "0.22.0", "0.23.0"]
    compiled = cells(*names)
    interpreted = cells("0.22.0", "0.23.0", lane="cpu-interpreted", runner="v2")
    rows = [
        row(compiled[1], FAILED),
        row(compiled[1], recorded_at="2019-01-01T00:00:00Z"),
        row(compiled[2], FAILED),
        row(compiled[2], recorded_at="2021-01-01T00:00:00Z"),
        row(compiled[3], VOID, recorded_at="2021-01-01T00:00:00Z"),
        row(compiled[3]),
    ]

    order = sweep.ordered([*compiled, *interpreted], rows)

    assert [(cell.vllm, cell.lane) for cell in order] == [
        ("0.23.0", "cpu"),
        ("0.23.0", "cpu-interpreted"),
        ("0.22.0", "cpu-interpreted"),
        ("0.19.0", "cpu"),
        ("0.22.0", "cpu"),
        ("0.20.0", "cpu"),
        ("0.21.0", "cpu"),
    ]


def test_every_cell_is_in_the_order_once() -> None:
    """Whatever is known of them."""
    order = sweep.ordered(CPU, [row(CPU[3], FAILED)])

    assert sorted(cell.name for cell in order) == sorted(cell.name for cell in CPU)
    assert order[0].vllm == order[1].vllm == "0.32.0"


def test_what_is_left_follows_from_what_cells_took() -> None:
    """A cell's own last pass, else the middle of its lane; shared among those that run at once."""
    one, two, three = cells("0.19.0", "0.20.0", "0.21.0")
    durations = sweep.Durations(
        [
            row(one, seconds=900.0, recorded_at="2019-01-01T00:00:00Z"),
            row(one, seconds=100.0),
            row(one, FAILED, seconds=1.0, recorded_at="2021-01-01T00:00:00Z"),
            row(two, seconds=300.0),
        ]
    )

    assert [durations.seconds(cell) for cell in (one, two, three)] == [100.0, 300.0, 300.0]
    assert durations.left([one, two], {}, 1) == 400
    assert durations.left([one], {two: 50.0}, 2) == 250
    assert durations.left([one, three], {two: 100.0}, 2) == 300
    assert durations.left([], {two: 1000.0}, 2) == 0
    other = cells("0.28.0", lane="cpu-interpreted", runner="v2")
    assert durations.left(other, {}, 1) is None
