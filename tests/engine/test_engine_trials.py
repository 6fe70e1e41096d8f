"""Candidates in the whole batch run again: one per sequence, and the last one is held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.engine.live import Runner
from value_steer.engine.trials import Trial, WholeBatch

VALUES = {5: 0.5, 6: 0.25, 7: 0.75}
TOKENS = {"a": 5, "b": 6, "c": 7}


def _begun() -> tuple[Any, WholeBatch]:
    """A runner that has run ahead on the sampled tokens, and the prober at work on them."""
    runner: Any = Runner(VALUES, TOKENS)
    runner.run(SimpleNamespace(positions={"a": 4, "b": 5, "c": 6}))
    prober = WholeBatch(runner)
    prober.begin()
    return runner, prober


def test_the_features_are_those_of_the_candidates() -> None:
    """In the order of the trials, whatever row their sequences are in."""
    runner, prober = _begun()

    features = prober.run([Trial("c", 6, [6]), Trial("a", 4, [7])])

    assert features.flatten().tolist() == [VALUES[6], VALUES[7]]
    assert runner.tokens == {"a": 7, "b": 6, "c": 6}
    assert runner.positions == {"a": 4, "c": 6}
    assert runner.kept.look.ids == ["a", "b", "c"]


def test_a_sequence_has_one_row() -> None:
    """No more than one token of a sequence runs at a time."""
    assert _begun()[1].breadth(1) == 1


def test_the_token_that_ran_last_is_held() -> None:
    """Any other one must run again, and a sequence that was not tried is as it was."""
    _, prober = _begun()
    prober.run([Trial("a", 4, [6])])
    prober.run([Trial("a", 4, [7])])

    assert (prober.holds("a", 7), prober.holds("a", 6), prober.holds("a", 5)) == (
        True,
        False,
        False,
    )
    assert prober.holds("b", 6)


def test_keeping_what_is_held_runs_nothing() -> None:
    """It is what was run ahead last."""
    runner, prober = _begun()
    prober.run([Trial("a", 4, [6])])
    before = len(runner.runs)

    prober.keep([Trial("a", 4, [6]), Trial("b", 5, [6])])

    assert len(runner.runs) == before


def test_a_new_step_forgets_the_last_one() -> None:
    """What ran in an earlier step says nothing of this one."""
    _, prober = _begun()
    prober.run([Trial("a", 4, [6])])

    prober.begin()

    assert prober.holds("a", 5)
