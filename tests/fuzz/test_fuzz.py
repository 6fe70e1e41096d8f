"""Whatever stands in a file or an option, what reads it gives records or one of our errors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tests.fuzz.__main__ import main
from tests.fuzz.run import BATCH, examine
from tests.fuzz.target import Target, ours
from tests.fuzz.targets import TARGETS
from value_steer.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = int(os.environ.get("VALUE_STEER_FUZZ", "40"))
"""For each target; ``nox -s fuzz`` does many more."""


@pytest.mark.filterwarnings("ignore")  # of what is read, not of what reads
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_else_gets_out(target: Target, tmp_path: Path) -> None:
    """Each reader with made-up inputs; hypothesis makes the one that fails small."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(target.inputs)
    def check(made: object) -> None:
        target.check(tmp_path, made)

    check()


def test_names_are_told_apart() -> None:
    """A row of the table is one target."""
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def _odd(_: Path, number: int) -> None:
    if number % 2:
        raise KeyError(number)
    ours(lambda: _refused(number))


def _refused(number: int) -> list[object]:
    msg = f"{number} is refused"
    raise DataError(msg)


def test_an_escape_is_counted_and_shown(tmp_path: Path) -> None:
    """Each of them is counted, one of each kind is kept, and all examples are run."""
    target = Target("odd", st.integers(0, 10**6), _odd)

    tally = examine(target, tmp_path / "a", BATCH + 40, seed=3)
    again = examine(target, tmp_path / "b", BATCH + 40, seed=3)

    assert tally.examples == BATCH + 40
    assert 0 < tally.escapes < tally.examples
    assert [kind.partition(",")[0] for kind in tally.kinds] == ["KeyError in _odd"]
    ((example, trace),) = tally.kinds.values()
    assert int(example) % 2
    assert "raise KeyError(number)" in trace
    assert (again.escapes, again.kinds.keys()) == (tally.escapes, tally.kinds.keys())


def test_a_strategy_that_makes_nothing_is_no_success(tmp_path: Path) -> None:
    """A table of nothing would show nothing."""
    target = Target("none", st.integers().filter(lambda _: False), _odd)

    with pytest.raises(Unsatisfiable):
        examine(target, tmp_path / "a", 10, seed=0)


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """With the seed and the sum; the status is 0 where nothing escaped."""
    assert main(["--examples", "20", "--seed", "7", "--targets", "additional_config"]) == 0

    out = capsys.readouterr().out
    assert "| additional_config | 20 | 0 |" in out
    assert "20 examples of 1 targets from seed 7 at " in out
    with pytest.raises(SystemExit):
        main(["--targets", "nothing of that name"])
