"""What becomes of filtered rows, step by step, on a fake host that samples what it is told to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.engine.filtering.filtering_host import BAD, FINE, PROMPT, Host
from tests.engine.live import defaults
from value_steer.config import AbstainAction, OnError
from value_steer.engine.admission import AbstainDefaults
from value_steer.engine.delivery.outbox import Score
from value_steer.engine.delivery.report import Ending


def test_a_token_goes_out_when_it_is_accepted() -> None:
    """One step after it was sampled, with its value."""
    host = Host()
    host.add("a")

    given = [host.step(a=(FINE, token))["a"] for token in (5, 6, 7)]

    assert given == [[], [5], [6]]
    assert host.report.p_undesirable is not None
    assert host.report.p_undesirable.tolist() == pytest.approx([FINE])
    assert host.report.repeated == []


def test_a_step_in_which_nobody_holds_a_token_has_no_values() -> None:
    """The head is not asked."""
    host = Host()
    host.add("a")
    host.step(a=(FINE, 5))

    assert host.report.p_undesirable is None


def test_a_first_step_that_fails_holds_what_was_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a later one does; the next step judges it."""
    host = Host(on_error=OnError.PASSTHROUGH)
    host.add("a")
    with monkeypatch.context() as broken:
        broken.setattr(host.filter, "look", lambda _: 1 / 0)
        assert host.step(a=(FINE, 5)) == {"a": []}
    assert host.report.errors == 1

    assert host.step(a=(FINE, 6)) == {"a": [5]}
    assert (host.report.errors, host.report.unscored) == (0, [])


def test_a_refused_token_is_replaced_by_a_further_draw() -> None:
    """The request takes its position again, the others go on; the report tells both."""
    host = Host()
    host.add("a", seed=3)
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 6))

    assert host.step(a=(BAD, 7), b=(FINE, 8)) == {"a": [], "b": [6]}
    candidate = host.again[0]
    assert (host.report.repeated, host.report.interventions) == (["a"], [])
    assert candidate not in {0, 5}
    assert host.step(a=(FINE, 9), b=(FINE, 9)) == {"a": [candidate], "b": [8]}
    assert host.report.interventions == ["a"]


def test_candidates_come_from_the_requests_own_randomness() -> None:
    """So a request that is sent again with its seed is given the same."""
    tried = []
    for seed in (3, 3, 4):
        host = Host()
        host.add("a", seed=seed)
        host.add("b", seed=9)
        host.step(a=(FINE, 5), b=(FINE, 5))
        host.step(a=(BAD, 7), b=(BAD, 7))
        tried.append((host.again[0], host.again[1]))

    assert tried[0] == tried[1]
    assert tried[0][1] == tried[2][1], "another request's seed is another's"
    assert tried[0][0] != tried[2][0]


def test_a_request_can_have_its_first_token_refused() -> None:
    """Whatever the head says, and that one alone."""
    host = Host()
    host.add("a", seed=3, extra_args={"steer_test": "intervene"})
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 5))

    assert host.step(a=(FINE, 6), b=(FINE, 6)) == {"a": [], "b": [5]}
    candidate = host.again[0]
    assert host.step(a=(FINE, 7), b=(FINE, 7)) == {"a": [candidate], "b": [6]}
    assert host.report.interventions == ["a"]
    assert host.step(a=(FINE, 8), b=(FINE, 8)) == {"a": [7], "b": [7]}


def test_what_is_drawn_and_not_used_is_drawn_again() -> None:
    """Under a grammar every other step samples for nothing, which a seed must not show."""
    host = Host()
    host.add("a", seed=3, structured_outputs=object())
    host.add("b", seed=4)
    given, drawn = [], []
    for token in (5, 6, 7, 8):
        given.append(host.step(a=(FINE, token), b=(FINE, token))["a"])
        drawn.append((host.drawn("a"), host.drawn("b")))

    assert given == [[], [5], [], [7]]
    assert drawn == [(1, 1), (1, 2), (2, 3), (2, 4)]


def test_a_row_that_gives_out_and_holds_nothing_is_said() -> None:
    """Its next token is sampled once its grammar knows this one."""
    host = Host()
    host.add("a", structured_outputs=object())
    host.step(a=(FINE, 5))
    host.step(a=(FINE, 6))

    assert (host.verdicts.emptied, host.verdicts.again) == ({"a"}, set())
    assert (host.again, host.report.repeated) == ({0: 5}, ["a"])


@pytest.mark.parametrize("wants_logprobs", [False, True])
def test_a_token_that_was_held_when_its_request_was_preempted_stays(
    *, wants_logprobs: bool
) -> None:
    """What the host samples there anew is not used, and its randomness is not spent."""
    host = Host()
    host.add("a", seed=3, logprobs=1 if wants_logprobs else None)
    host.add("b", seed=4)
    host.step(a=(FINE, 5), b=(FINE, 5))
    host.step(a=(FINE, 6), b=(FINE, 6))
    host.scheduler.withhold("a")
    host.scheduler.preempt("a")
    host.step(b=(FINE, 7))

    assert host.step(a=(BAD, 9), b=(FINE, 8)) == {"a": [], "b": [7]}
    assert host.output.sampled_token_ids[0, 0] == 6
    assert (host.drawn("a"), host.drawn("b")) == (2, 4)
    scores = {"a": Score(6, -0.5, 4)} if wants_logprobs else {}
    assert host.verdicts.scores == scores
    assert host.step(a=(FINE, 4), b=(FINE, 9)) == {"a": [6], "b": [8]}
    assert host.step(a=(FINE, 4), b=(FINE, 9)) == {"a": [4], "b": [9]}
    assert host.drawn("a") == 4


@pytest.mark.parametrize("wants_logprobs", [False, True])
def test_a_search_goes_on_after_a_preemption(*, wants_logprobs: bool) -> None:
    """With the candidate that was to be tried, and what the batch it was drawn in says of it."""
    host = Host()
    host.add("a", seed=3, logprobs=1 if wants_logprobs else None)
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 5))
    host.step(a=(BAD, 6), b=(FINE, 6))
    candidate, spent = host.again[0], host.drawn("a")
    scores = {"a": Score(candidate, -0.5, 1)} if wants_logprobs else {}
    assert host.verdicts.scores == scores
    host.scheduler.withhold("a")
    host.scheduler.preempt("a")

    assert host.step(a=(FINE, 9), b=(FINE, 7)) == {"a": [], "b": [6]}
    assert host.output.sampled_token_ids[0, 0] == candidate
    assert host.drawn("a") == spent, "what was sampled there is not used"
    assert host.verdicts.scores == scores
    assert host.step(a=(FINE, 8), b=(FINE, 8)) == {"a": [candidate], "b": [7]}
    assert host.report.interventions == ["a"]


@pytest.mark.parametrize("value", [FINE, BAD], ids=["held", "searched for"])
def test_a_token_of_another_position_is_not_put_in(value: float) -> None:
    """A reset may drop tokens that were on their way, and the request is sampled before it then."""
    host = Host()
    host.add("a", seed=3)
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 5))
    host.step(a=(FINE, 6), b=(FINE, 6))
    host.step(a=(value, 7), b=(FINE, 7))
    for _ in range(2):
        host.scheduler.withhold("a")
    host.scheduler.preempt("a")

    assert host.step(a=(FINE, 9), b=(FINE, 8)) == {"a": [], "b": [7]}
    assert host.output.sampled_token_ids[0, 0] == 9
    assert host.step(a=(FINE, 4), b=(FINE, 9)) == {"a": [9], "b": [8]}
    assert host.report.interventions == []


@pytest.mark.parametrize("action", [AbstainAction.END, AbstainAction.MESSAGE])
def test_abstention_does_not_judge_a_token_that_is_taken_back(action: AbstainAction) -> None:
    """It judges the one that is put in its place, and nothing is said to have begun before."""
    host = Host(abstention=AbstainDefaults(defaults(0.5), 1, action=action))
    host.add("a")
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 5))

    host.step({"a": 0.1, "b": 0.9}, a=(BAD, 6), b=(FINE, 6))
    assert host.report.p_good is not None
    assert np.isnan(host.report.p_good).tolist() == [True, False]
    assert host.report.begins == {}
    candidate = host.again[0]

    assert host.step({"a": 0.1, "b": 0.9}, a=(FINE, 7), b=(FINE, 7)) == {"a": [candidate], "b": [6]}
    assert host.report.begins == ({} if action is AbstainAction.END else {"a": 1})
    ends = action is AbstainAction.END
    assert host.step(a=(BAD, 7), b=(FINE, 7))["a"] == [1 if ends else 8]
    assert host.endings == [{}, {}, {}, {"a": Ending.ABSTAINED} if ends else {}]


@pytest.mark.parametrize("others", [False, True])
def test_the_last_token_of_a_full_sequence_is_judged(*, others: bool) -> None:
    """And nothing is held behind it; the step before holds as always, whatever others do."""
    host = Host(longest=PROMPT + 2)
    host.add("a")
    beside: dict[str, Any] = {}
    if others:
        host.add("b", structured_outputs=object())
        beside = {"b": (FINE, 4)}
    assert [host.step(a=(FINE, token), **beside)["a"] for token in (5, 6)] == [[], [5]]
    assert "a" not in host.report.repeated

    assert host.step(a=(FINE, 7), **beside)["a"] == [6]
    assert "a" in host.report.repeated
    assert "a" in host.verdicts.emptied


def test_nothing_is_kept_of_a_request_that_is_over() -> None:
    """Nor of one that was never sampled."""
    host = Host()
    host.add("a")
    host.add("b")
    host.step(a=(FINE, 5), b=(FINE, 5))
    host.step(a=(BAD, 6), b=(FINE, 6))
    host.step(b=(FINE, 7))
    host.scheduler.finish("a")
    host.step(b=(FINE, 8))

    assert (host.memory._kept, host.lag._behind) == ({}, {})
