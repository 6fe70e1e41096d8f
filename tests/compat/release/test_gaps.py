"""What a release lacks: each lack alone shuts it out or keeps it waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.release import gaps
from compat.release.gaps import GapKind
from compat.releases import policy
from tests.compat.checkouts import CLEAN, MOMENT, evidence
from tests.compat.samples import CELL, VOID, failed, passed, rows
from value_steer.registry.model import Cause, Depth, Provenance, Verdict

if TYPE_CHECKING:
    from value_steer.registry.rows import Row

DEMANDS = replace(policy.load().release, lanes=("cpu",), depth=Depth.EQUAL, fresh_days=45)
LATER = "2020-05-07T00:00:00Z"
V2 = replace(CELL, runner="v2")
ANY = replace(CELL, runner=None)
OTHER = replace(CLEAN, engine_digest="cd" * 32)
GOOD = evidence("0.28.0")
ABSTAIN, VFD = GOOD


def lacks(*history: Row) -> list[GapKind]:
    """What 0.28.0 lacks with this history and a good row for value filtering."""
    found = gaps.find_gaps("0.28.0", [*history, VFD], DEMANDS, MOMENT)
    return [gap.kind for gap in found]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([ABSTAIN], []),
        ([], [GapKind.MISSING]),
        ([replace(VOID, package=CLEAN)], [GapKind.MISSING]),
        ([ABSTAIN, replace(VOID, recorded_at=LATER)], []),
        ([replace(ABSTAIN, cell=replace(CELL, lane="cuda-sm80"))], [GapKind.MISSING]),
        ([ABSTAIN, failed(recorded_at=LATER)], [GapKind.BAD]),
        ([failed(), replace(ABSTAIN, recorded_at=LATER)], []),
        ([ABSTAIN, failed(cell=V2)], [GapKind.BAD]),
        ([failed(cell=ANY, cause=Cause.INSTALL), replace(ABSTAIN, recorded_at=LATER)], []),
        ([ABSTAIN, failed(cell=ANY, cause=Cause.INSTALL, recorded_at=LATER)], [GapKind.BAD]),
        ([replace(VOID, verdict=Verdict.WITHDRAWN), ABSTAIN], [GapKind.BAD]),
        ([replace(ABSTAIN, depth=Depth.FIRES)], [GapKind.WEAK]),
        ([replace(ABSTAIN, package=replace(CLEAN, dirty=True))], [GapKind.WEAK]),
        ([replace(ABSTAIN, provenance=Provenance("hearsay", None))], [GapKind.WEAK]),
        ([replace(ABSTAIN, recorded_at="2020-05-09T00:00:00Z")], [GapKind.WEAK]),
        ([replace(ABSTAIN, package=OTHER)], [GapKind.STALE]),
        ([ABSTAIN, replace(ABSTAIN, package=OTHER, recorded_at=LATER)], [GapKind.STALE]),
        ([ABSTAIN, passed(cell=V2, package=OTHER)], []),
        ([replace(ABSTAIN, recorded_at="2020-03-24T00:00:00Z")], []),
        ([replace(ABSTAIN, recorded_at="2020-03-23T23:00:00Z")], [GapKind.OLD]),
    ],
)
def test_what_is_lacking(history: list[Row], expected: list[GapKind]) -> None:
    """The newest verdict on the exact cell counts, and one runner must have everything."""
    assert lacks(*history) == expected


def test_a_lack_names_the_row() -> None:
    """A maintainer finds it in the registry by what the message says."""
    stale = replace(ABSTAIN, package=OTHER)
    (found,) = gaps.find_gaps("0.28.0", [stale, VFD], DEMANDS, MOMENT)

    assert "vLLM 0.28.0 on cpu (v1, abstain)" in found.text
    assert stale.record_id[:12] in found.text
    assert "stale" in found.text


@pytest.mark.parametrize(
    ("lane", "runner", "command"),
    [
        ("cpu", "v1", "`nox -s compat -- 0.28.0`"),
        ("cpu-async", "v1", "`nox -s compat -- 0.28.0 --lane cpu-async`"),
        (
            "cpu-interpreted-async",
            "v2",
            "`nox -s compat -- 0.28.0 --lane cpu-interpreted-async --runner v2`",
        ),
    ],
)
def test_a_lack_names_the_command_that_ends_it(lane: str, runner: str, command: str) -> None:
    """For the lane that lacks something, not for the one that the command would take by itself."""
    demands = replace(DEMANDS, lanes=(lane,))
    rows = evidence("0.28.0", lane=lane, digest=OTHER.engine_digest)
    stale = [replace(row, cell=replace(row.cell, runner=runner)) for row in rows]

    found = gaps.find_gaps("0.28.0", stale, demands, MOMENT)
    assert [gap.kind for gap in found] == [GapKind.STALE] * 2
    assert all(f"{command} renews it" in gap.text for gap in found)


def test_a_lane_without_evidence_is_named_in_the_command() -> None:
    """A pattern names no lane, so the command takes the machine's."""
    for lane, command in (("cpu-async", "0.28.0 --lane cpu-async`"), ("cuda-*", "0.28.0`")):
        found = gaps.find_gaps("0.28.0", GOOD, replace(DEMANDS, lanes=(lane,)), MOMENT)
        assert all(f"`nox -s compat -- {command} makes some" in gap.text for gap in found)
        assert len(found) == 2


def test_a_pattern_is_covered_by_any_of_its_lanes() -> None:
    """A demand for CUDA is met by one generation of GPU."""
    demands = replace(DEMANDS, lanes=("cuda-*",))
    covering = evidence("0.28.0", lane="cuda-sm90")

    assert gaps.find_gaps("0.28.0", covering, demands, MOMENT) == ()
    interpreted = evidence("0.28.0", lane="cpu-interpreted")
    assert gaps.find_gaps("0.28.0", interpreted, DEMANDS, MOMENT)


@given(st.lists(rows(), max_size=6))
def test_age_and_code_never_turn_bad_evidence_good(history: list[Row]) -> None:
    """At another time, with other code, the same lacks remain but for what perishes."""
    cells = {row.cell.vllm for row in history}
    late = replace(MOMENT, engine_digest="ef" * 32, now=MOMENT.now + timedelta(days=3650))
    for vllm in cells:
        now = gaps.find_gaps(vllm, history, DEMANDS, MOMENT)
        then = gaps.find_gaps(vllm, history, DEMANDS, late)
        lasting = [s for s in now if s.kind not in gaps.EXPIRED]
        assert [s for s in then if s.kind not in gaps.EXPIRED] == lasting
        assert len(then) >= len(now)
