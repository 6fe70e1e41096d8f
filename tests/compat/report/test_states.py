"""What evidence comes to: every verdict, every reason why there is none, every lane."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from compat.report.model import Column, State, Symbol
from compat.report.states import Known, cell, column_of
from tests.compat.report.sources import (
    ALL_KINDS,
    KINDS,
    OTHER,
    candidate,
    checked,
    ran,
    sources,
    with_code,
)
from tests.compat.samples import FAILED, PASSED
from value_steer.registry.model import Cause, Verdict

if TYPE_CHECKING:
    from value_steer.registry.rows import Row

BOTH = candidate("0.32.0", "cpu", "cuda")
VERDICTS = [
    (Verdict.PASSED, State.VALIDATED),
    (Verdict.FAILED, State.FAILED),
    (Verdict.UNSUPPORTED, State.UNSUPPORTED),
    (Verdict.WITHDRAWN, State.WITHDRAWN),
    (Verdict.INFRA, State.NO_VERDICT),
    (Verdict.TIMEOUT, State.NO_VERDICT),
    (Verdict.NO_EVIDENCE, State.NO_VERDICT),
]


def at(
    rows: list[Row],
    runner: str = "v1",
    column: Column = Column.CPU,
    known: Known | None = None,
    **changes: object,
) -> tuple[State, str]:
    """The state and the word of a cell of 0.32.0 on these rows."""
    known = known or Known("0.32.0", BOTH, tuple(rows), tuple(checked("0.32.0")))  # type: ignore[arg-type]
    found = cell(known, runner, column, sources(rows, **changes).matrix)
    return found.state, found.word


@pytest.mark.parametrize(("verdict", "state"), VERDICTS)
def test_every_verdict_has_a_state(verdict: Verdict, state: State) -> None:
    """Whether or not it says anything."""
    cause = Cause.BOOT if verdict is Verdict.FAILED else None

    assert at(ran("0.32.0", verdict=verdict, cause=cause))[0] is state


def test_no_verdict_is_left_out() -> None:
    """A new one has to find its state above."""
    assert {verdict for verdict, _ in VERDICTS} == set(Verdict)


def test_a_run_that_said_nothing_replaces_no_verdict() -> None:
    """What passed before still stands."""
    later = ran("0.32.0", verdict=Verdict.TIMEOUT, recorded_at="2020-05-07T00:00:00Z")

    assert at([*ran("0.32.0"), *later])[0] is State.VALIDATED


def test_other_code_is_stale_and_time_makes_old() -> None:
    """Both need another run; neither is green."""
    assert at(with_code(OTHER, ran("0.32.0")))[0] is State.STALE
    assert at(ran("0.32.0", recorded_at="2020-03-24T12:00:00Z"))[0] is State.VALIDATED
    assert at(ran("0.32.0", recorded_at="2020-03-23T11:00:00Z"))[0] is State.OLD
    assert {State.STALE.symbol, State.OLD.symbol} == {Symbol.STALE}


def test_the_worse_mode_shows_with_its_name() -> None:
    """A cell is no greener than what is known least of."""
    good, other = ran("0.32.0")

    assert at([good]) == (State.NEVER, "vfd never run")
    bad = replace(FAILED, cell=other.cell)
    assert at([good, bad]) == (State.FAILED, "vfd fails")
    assert at([good, other]) == (State.VALIDATED, "validated")


def test_the_worse_lane_shows() -> None:
    """One GPU speaks for no other."""
    sm80, sm90 = ran("0.32.0", "cuda-sm80"), ran("0.32.0", "cuda-sm90", verdict=Verdict.FAILED)

    assert at(sm80, column=Column.GPU)[0] is State.VALIDATED
    assert at([*sm80, *sm90], column=Column.GPU)[0] is State.FAILED


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_a_gpu_without_a_host_is_unscheduled(runner: str) -> None:
    """Neither blank nor green, and the command is there for whoever has one."""
    known = Known("0.32.0", BOTH, (), ())
    found = cell(known, runner, Column.GPU, sources().matrix)

    assert (found.state.symbol, found.word) == (Symbol.OPEN, "unscheduled: no host")
    assert found.commands == (f"nox -s compat -- 0.32.0 --lane cuda-sm80 --runner {runner}",)


def test_a_gpu_that_has_run_another_release_is_a_host() -> None:
    """So this one is merely waiting."""
    known = Known("0.32.0", BOTH, (), ())
    matrix = sources(ran("0.31.0", "cuda-sm80")).matrix

    assert cell(known, "v1", Column.GPU, matrix).state is State.NEVER


def test_why_nothing_ran_on_a_cpu() -> None:
    """No build, no lane, not yet, or not so far back; and no command that could not run."""
    matrix = sources().matrix
    unbuilt = cell(Known("0.33.0", candidate("0.33.0", "cuda"), (), ()), "v1", Column.CPU, matrix)
    before = cell(Known("0.22.0", BOTH, (), ()), "v2", Column.CPU, matrix)
    nowhere = cell(Known("0.32.0", BOTH, (), ()), "v1", Column.ASYNC, matrix)
    waiting = cell(Known("0.32.0", BOTH, (), ()), "v2", Column.CPU, matrix)

    assert (unbuilt.state, unbuilt.commands) == (State.NO_BUILD, ())
    assert unbuilt.why == "the index has no CPU build of it"
    assert (before.state, before.commands) == (State.UNSCHEDULED, ())
    assert before.why == "the matrix has it from 0.23.0 on"
    assert (nowhere.state, nowhere.commands) == (State.UNSCHEDULED, ())
    assert nowhere.why == "the matrix has no such lane"
    assert (waiting.state, waiting.why) == (State.NEVER, "")


def test_new_lanes_find_their_columns() -> None:
    """By their names alone; nothing lists them."""
    assert column_of("cpu") is column_of("cpu-interpreted") is Column.CPU
    assert column_of("cpu-async") is column_of("interpreted-async") is Column.ASYNC
    assert column_of("cuda-sm90") is column_of("cuda-sm90-async") is Column.GPU

    known = Known("0.32.0", BOTH, (), ())
    matrix = sources(kinds=ALL_KINDS).matrix
    found = [cell(known, runner, Column.ASYNC, matrix) for runner in ("v1", "v2")]
    assert [f.state for f in found] == [State.NEVER] * 2
    assert [f.findings[0].lane for f in found] == ["cpu-async", "cpu-interpreted-async"]


def test_a_run_without_a_runner_is_about_those_that_its_lane_builds() -> None:
    """It failed before there was one; the lanes of a CPU build one each."""
    early = ran("0.32.0", runner=None, verdict=Verdict.FAILED, cause=Cause.INSTALL)

    assert at(early)[0] is State.FAILED
    assert at(early, runner="v2")[0] is State.NEVER
    gone = ran("0.32.0", "cuda-sm70", None, verdict=Verdict.FAILED, cause=Cause.INSTALL)
    assert {at(gone, r, Column.GPU)[0] for r in ("v1", "v2")} == {State.FAILED}


def test_a_broken_contract_outweighs_what_older_code_could_do() -> None:
    """But nothing that was run with this code."""
    static = tuple(checked("0.32.0", "a.b", runner="v1", modes="vfd"))
    rows = ran("0.32.0")
    stale = with_code(OTHER, rows)

    def known(own: list[Row]) -> Known:
        return Known("0.32.0", BOTH, tuple(own), static)  # type: ignore[arg-type]

    assert at([], known=known([])) == (State.BROKEN, "vfd contracts broken")
    assert at(stale, known=known(stale)) == (State.BROKEN, "vfd contracts broken")
    assert at(rows, known=known(rows))[0] is State.VALIDATED


def test_without_a_clock_nothing_grows_old() -> None:
    """For what is committed must not drift by itself."""
    rows = ran("0.32.0", recorded_at="2001-01-01T00:00:00Z")
    of = sources(rows)
    timeless = replace(of, yardstick=replace(of.yardstick, now=None))
    found = cell(timeless.known[0], "v1", Column.CPU, timeless.matrix)

    assert found.state is State.VALIDATED
    assert {finding.days for finding in found.findings} == {None}
    assert PASSED.cell.lane in {kind.lane for kind in KINDS}
