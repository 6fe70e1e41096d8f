"""The one sentence: over everything that can be known of what somebody runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compat.axes import MODES
from compat.report import sentence as sentences
from compat.report.devices import DEVICES
from compat.report.model import Contracts, Finding, State, Symbol
from compat.report.sentence import Asked, Part, sentence
from tests.compat.samples import FAILED, PASSED
from value_steer.registry.model import Cause

H200 = next(device for device in DEVICES if device.id == "h200")
CPU = next(device for device in DEVICES if device.id == "cpu")
ROW = replace(PASSED, recorded_at="2026-11-28T00:00:00Z")
COMMAND = "nox -s compat -- 0.32.0 --lane cuda-sm90 --runner v2"
START = "You run 0.32.0 on an H200 with V2: "

CASES: list[tuple[State, dict[str, object], str, str | None]] = [
    (
        State.VALIDATED,
        {"row": ROW},
        "validated on 2026-11-28, with this code; nothing to do.",
        None,
    ),
    (
        State.STALE,
        {"row": ROW},
        "passed on 2026-11-28, with other code of value-steer; run this command to renew it.",
        COMMAND,
    ),
    (
        State.OLD,
        {"row": ROW, "days": 60},
        "passed with this code on 2026-11-28, 60 days ago; run this command to renew it.",
        COMMAND,
    ),
    (
        State.FAILED,
        {"row": replace(FAILED, recorded_at=ROW.recorded_at, cause=Cause.BOOT)},
        "known not to work (boot, 2026-11-28); no release is known to work there.",
        COMMAND,
    ),
    (
        State.WITHDRAWN,
        {"row": ROW},
        "its evidence was withdrawn on 2026-11-28; no release is known to work there.",
        COMMAND,
    ),
    (
        State.UNSUPPORTED,
        {"row": ROW},
        "declared unsupported on 2026-11-28; no release is known to work there.",
        COMMAND,
    ),
    (
        State.NO_VERDICT,
        {"row": ROW},
        "its last run, on 2026-11-28, came to no verdict; run this command to find out.",
        COMMAND,
    ),
    (
        State.BROKEN,
        {"broken": ("a.b", "c", "d")},
        "value-steer cannot bind to it, because 3 contracts do not hold (a.b, c, …); "
        "no release is known to work there.",
        COMMAND,
    ),
    (
        State.NEVER,
        {},
        "contracts hold, never run on that GPU; run this command to find out.",
        COMMAND,
    ),
    (
        State.NO_HOST,
        {},
        "contracts hold, never run on that GPU; run this command to find out.",
        COMMAND,
    ),
    (
        State.UNSCHEDULED,
        {},
        "contracts hold, never run on that GPU; run this command to find out.",
        COMMAND,
    ),
    (
        State.NO_BUILD,
        {},
        "contracts hold, never run on that GPU, since the index has no GPU build of it; "
        "there is nothing to run.",
        None,
    ),
]


def findings(state: State, **more: object) -> tuple[Finding, ...]:
    """The same of both modes."""
    return tuple(
        Finding(mode, "cuda-sm90", state, **more)  # type: ignore[arg-type]
        for mode in ("abstain", "vfd")
    )


def asked(*found: Finding, **changes: object) -> Asked:
    """A reader with an H200 and V2."""
    contracts = Contracts.HOLD
    whole = Asked("0.32.0", H200, "V2", (Part("v2", contracts, found),), (), None, COMMAND)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "more", "told", "command"), CASES)
def test_every_state_is_told(
    state: State, more: dict[str, object], told: str, command: str | None
) -> None:
    """With what to do, and the command where it would settle something."""
    said = sentence(asked(*findings(state, **more)))

    assert said.text == START + told
    assert (said.symbol, said.command) == (state.symbol, command)


def test_no_state_is_left_out() -> None:
    """A new one has to find its words above."""
    assert {state for state, *_ in CASES} == set(State)


def test_what_fails_names_the_release_that_passed_there() -> None:
    """Which is more use than the failure."""
    said = sentence(asked(*findings(State.FAILED, row=FAILED), last_good="0.31.0"))

    assert said.text.endswith("; use 0.31.0, the newest that passed there.")


def test_one_broken_contract_is_one() -> None:
    """And it is named."""
    said = sentence(asked(*findings(State.BROKEN, broken=("a.b",))))

    assert "because 1 contract does not hold (a.b); " in said.text


def test_a_run_elsewhere_is_told_of_what_never_ran() -> None:
    """It is no evidence, and better than nothing."""
    said = sentence(asked(*findings(State.NEVER), elsewhere=("a CPU with V1 and V2",)))

    assert "never run on that GPU, though it passed on a CPU with V1 and V2; " in said.text


def test_contracts_that_nobody_checked_are_not_said_to_hold() -> None:
    """Nor that they do not."""
    part = Part("v2", Contracts.UNCHECKED, findings(State.NEVER))

    assert "V2: contracts not checked, never run" in sentence(asked(parts=(part,))).text


def test_without_a_lane_there_is_no_command() -> None:
    """Nothing can be run, so nothing is promised."""
    said = sentence(asked(*findings(State.UNSCHEDULED), device=CPU, command=None))

    assert said.text == (
        "You run 0.32.0 on a CPU with V2: contracts hold, never run that way; "
        "the matrix has no lane for it."
    )
    assert said.command is None


def test_modes_that_differ_are_told_apart() -> None:
    """The worse decides the symbol and the advice."""
    good, bad = findings(State.VALIDATED, row=ROW)[0], findings(State.NEVER)[1]
    said = sentence(asked(good, bad))

    assert said.text == (
        f"{START}abstention: validated on 2026-11-28, with this code; "
        "value filtering: contracts hold, never run on that GPU; run this command to find out."
    )
    assert said.symbol is Symbol.OPEN


def test_runners_that_differ_are_told_apart() -> None:
    """Where the model decides which one is built."""
    parts = (
        Part("v1", Contracts.HOLD, findings(State.STALE, row=ROW)),
        Part("v2", Contracts.HOLD, (findings(State.STALE, row=ROW)[0], findings(State.NEVER)[1])),
    )
    said = sentence(asked(parts=parts, runner="whichever runner it builds"))

    assert "builds: V1, V2 abstention: passed on 2026-11-28, with other code" in said.text
    assert "; V2 value filtering: contracts hold, never run" in said.text


def test_words_for_every_mode() -> None:
    """A new mode has to find its name."""
    assert set(sentences._MODES) == set(MODES)
