"""Value filtering, step by step, on a model whose right answers are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.engine.live import STOP, Runner, live
from value_steer.config import Fallback, OnError
from value_steer.engine.filtering import ValueFilter
from value_steer.engine.guard import Guard
from value_steer.engine.ledger import Ledger
from value_steer.engine.search import FallbackRule
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from value_steer.engine.live_request import LiveRequest

VALUES = {1: 0.0, 2: 0.125, 3: 0.25, 5: 0.5, 6: 0.75, 9: 1.0}


class Table(dict[str, "LiveRequest"]):
    """The live requests, of which all go on by one token per step."""

    age = 0

    def repeat(self, request: LiveRequest) -> bool:
        """The request does not grow."""
        request.length -= 1
        return True


class Draws:
    """Gives every row the same further draws."""

    def __init__(self, drawn: Sequence[int]) -> None:
        self._drawn = list(drawn)
        self.asked: list[tuple[int, int]] = []

    def again(self, redraws: Sequence[Any]) -> list[list[int]]:
        """Draw."""
        self.asked += [(redraw.row, redraw.count) for redraw in redraws]
        return [list(self._drawn) for _ in redraws]

    def probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """All alike."""
        del row
        return [0.1] * len(tokens)

    def rewrite(self, table: Any, tokens: Mapping[int, int]) -> None:
        """Write rows that are made of the token's number."""
        for row, token in tokens.items():
            table.logprob_token_ids[row] = token
            table.logprobs[row] = -float(token)
            table.sampled_token_ranks[row] = token


class Engine:
    """A batch that is sampled step after step, and all that filters it."""

    def __init__(
        self,
        requests: Mapping[str, LiveRequest],
        drawn: Sequence[int] = (),
        *,
        fallback: Fallback = Fallback.ARGMIN,
        on_error: OnError = OnError.RAISE,
        fails_at: int | None = None,
    ) -> None:
        self.requests = requests
        self.runner: Any = Runner(VALUES, dict.fromkeys(requests, 0))
        self.draws: Any = Draws(drawn)
        self.ledger = Ledger()
        self.table = Table(requests)
        self.steering: Any = SimpleNamespace(
            table=self.table, epoch=0, fired=None, ledger=self.ledger, feature=None
        )
        self._scored, self._fails_at = 0, fails_at
        steering: Any = self.steering
        runner: Any = self.runner
        self.filter = ValueFilter(
            score=self._score,
            steering=steering,
            run_ahead=runner,
            draws=self.draws,
            fallback=FallbackRule(fallback, 1.0, self.draws.probabilities),
            guard=Guard(on_error, self.ledger.counters),
        )

    def _score(self, feature: Tensor) -> Tensor:
        self._scored += 1
        if self._scored == self._fails_at:
            msg = "the head is broken"
            raise RuntimeError(msg)
        return feature[:, 0]

    def step(self, *sampled: int, **changes: Any) -> list[int | None]:
        """Filter what the host has sampled; the tokens that come out, ``None`` for no token."""
        ids = list(self.requests)
        self.runner.tokens.update(zip(ids, sampled, strict=True))
        self.steering.feature = torch.tensor([[float(token)] for token in sampled])
        self.output: Any = SimpleNamespace(
            req_ids=ids,
            sampled_token_ids=[[token] for token in sampled],
            logprobs=None,
            prompt_logprobs_dict={},
        )
        vars(self.output).update(changes)
        self.filter(self.output)
        self.table.age += 1
        tokens = [given[0] if given else None for given in self.output.sampled_token_ids]
        self._check_books(dict(zip(ids, tokens, strict=True)))
        return tokens

    def _check_books(self, given: dict[str, int | None]) -> None:
        """What goes on ends in the token that came out."""
        if self.runner.kept is not None:
            for name in self.runner.kept.ends.positions:
                assert given[name] in (None, self.runner.tokens[name])


def test_a_head_that_does_not_object_costs_no_search() -> None:
    """One step is run ahead, and nothing is drawn."""
    engine = Engine({"a": live(), "b": live()})

    assert engine.step(2, 3) == [2, 3]
    assert engine.runner.runs == [["a", "b"]]
    assert engine.draws.asked == []
    counters = engine.ledger.counters
    assert (counters.filtered, counters.repeated, counters.interventions) == (2, 0, 0)
    assert [r.filtered.p_undesirable for r in engine.requests.values()] == [0.125, 0.25]


def test_the_first_acceptable_candidate_is_committed() -> None:
    """Its request repeats the step until then; the others go on, and are not drawn for."""
    engine = Engine({"a": live(), "b": live(candidates=6), "c": live()}, [6, 3, 2])

    assert engine.step(2, 9, 3) == [2, None, 3]
    assert engine.runner.repeated["b"].tolist() == [9.0]
    assert engine.step(3, 5, 2) == [3, None, 2]
    assert engine.step(2, 5, 2) == [2, 3, 2]
    assert engine.step(2, 2, 2) == [2, 2, 2]
    assert engine.draws.asked == [(1, 5)]
    positions = engine.runner.kept.ends.positions
    assert positions["a"] - positions["b"] == 2
    filtered = engine.requests["b"].filtered
    assert (filtered.interventions, filtered.p_undesirable, filtered.search) == (1, 0.125, None)
    counters = engine.ledger.counters
    assert (counters.interventions, counters.no_acceptable) == (1, 0)
    assert (counters.filtered, counters.repeated) == (10, 2)


@pytest.mark.parametrize(
    ("drawn", "fallback", "steps"),
    [
        ([6, 5], Fallback.ARGMIN, [None, None, 5]),
        ([5, 6], Fallback.ARGMIN, [None, None, None, 5]),
        ([5, 6], Fallback.NATURAL, [None, None, None, 9]),
        ([], Fallback.ARGMIN, [9]),
    ],
    ids=["the last one tried", "an earlier one", "the natural one", "the only one"],
)
def test_without_an_acceptable_candidate_the_fallback_is_committed(
    drawn: list[int], fallback: Fallback, steps: list[int | None]
) -> None:
    """What comes out is what the model goes on from, whichever token was tried last."""
    engine = Engine({"a": live(), "b": live()}, drawn, fallback=fallback)

    given = [engine.step(9, 2) for _ in steps]

    assert given == [[token, 2] for token in steps]
    assert engine.requests["a"].filtered.no_acceptable == 1
    assert engine.ledger.counters.no_acceptable == 1
    assert engine.ledger.counters.interventions == int(steps[-1] != 9)


def test_a_request_may_be_ended_instead() -> None:
    """It gets its stop token, its outcome says at which value, and the others go on."""
    requests = {"a": live(), "b": live(vfd_threshold=0.625)}
    engine = Engine(requests, [5], fallback=Fallback.ABSTAIN)

    assert engine.step(9, 6) == [None, None]
    assert engine.step(9, 6) == [STOP, 5]
    assert list(engine.runner.kept.ends.positions) == ["b"]
    for name, request in requests.items():
        engine.ledger.close(name, request)
    ended, going = engine.ledger.outcomes()
    assert (ended.abstained, ended.response_tokens, ended.value) == (True, 2, 0.5)
    assert not going.abstained


def test_rows_that_abstention_ends_are_left_alone() -> None:
    """Their token is the stop token already, in a step that is repeated as well."""
    engine = Engine({"a": live(), "b": live()}, [6, 2])
    engine.steering.fired = torch.tensor([True, False])

    assert engine.step(9, 9) == [9, None]
    assert engine.draws.asked == [(1, 3)]
    engine.steering.fired = torch.tensor([False, True])
    assert engine.step(2, 9) == [2, 9]
    assert engine.requests["b"].filtered.search is None


def test_a_sequence_that_the_host_has_cut_is_searched_anew() -> None:
    """Candidates for another position are none for this one."""
    engine = Engine({"a": live()}, [6, 2])
    engine.step(9)
    engine.requests["a"].length -= 1

    assert engine.step(3) == [3]


def test_partial_prefills_and_unfiltered_requests_go_their_way() -> None:
    """The first have no next step, the second no objection."""
    engine = Engine({"a": live(complete=False), "b": live(vfd_threshold=None), "c": live()})

    assert engine.step(9, 9, 2) == [9, 9, 2]
    assert engine.runner.runs == [["b", "c"]]
    assert engine.ledger.counters.filtered == 1


@pytest.mark.parametrize("output", [None, SimpleNamespace(req_ids=[])], ids=["none", "empty"])
def test_a_step_without_tokens_is_not_looked_at(output: Any) -> None:
    """There is nothing to run ahead from."""
    engine = Engine({"a": live()})
    engine.filter(output)

    assert engine.runner.runs == []


def test_a_batch_that_is_not_filtered_costs_nothing() -> None:
    """Requests that switched filtering off pay for none of it."""
    engine = Engine({"a": live(vfd_threshold=None)})

    assert engine.step(9) == [9]
    assert engine.runner.runs == []


def test_log_probabilities_follow_the_token() -> None:
    """The rows of committed tokens are exchanged, the others stay."""
    engine = Engine({"a": live(), "b": live()}, [2])
    table = SimpleNamespace(
        logprob_token_ids=torch.tensor([[3], [9]]),
        logprobs=torch.tensor([[-0.5], [-0.5]]),
        sampled_token_ranks=torch.tensor([7, 7]),
    )

    engine.step(3, 9, logprobs=table)
    assert table.logprob_token_ids.tolist() == [[3], [9]]
    engine.step(3, 9, logprobs=table)

    assert table.logprob_token_ids.tolist() == [[3], [2]]
    assert table.logprobs.tolist() == [[-0.5], [-2.0]]
    assert table.sampled_token_ranks.tolist() == [7, 2]


@pytest.mark.parametrize("name", ["prompt_logprobs_dict", "prompt_token_id_logprobs_dict"])
def test_log_probabilities_of_a_prompt_wait_for_a_token(name: str) -> None:
    """The host gives them out beside one only; the second kind came with vLLM 0.31."""
    engine = Engine({"a": live()}, [2])

    engine.step(9, **{name: {"a": "of the prompt"}})
    assert getattr(engine.output, name) == {}
    assert engine.step(9, **{name: {}}) == [2]
    assert getattr(engine.output, name) == {"a": "of the prompt"}


def test_a_failed_decision_stops_the_step() -> None:
    """No token is served that nobody judged."""
    with pytest.raises(SteeringError, match="the head is broken"):
        Engine({"a": live()}, fails_at=1).step(9)


@pytest.mark.parametrize("fails_at", [1, 2], ids=["at once", "in the search"])
def test_passthrough_serves_what_the_model_drew_and_says_so(fails_at: int) -> None:
    """Nothing that was tried stays behind, whenever it fails; each token counts as unscored."""
    requests = {"a": live(), "b": live(candidates=2), "c": live(vfd_threshold=None)}
    engine = Engine(
        requests,
        [5, 6],
        fallback=Fallback.ABSTAIN,
        on_error=OnError.PASSTHROUGH,
        fails_at=fails_at,
    )

    for _ in range(fails_at - 1):
        assert engine.step(9, 6, 9) == [None, None, 9]
    assert engine.step(9, 6, 9) == [9, 6, 9]
    assert engine.runner.kept is None
    assert engine.runner.tokens == {"a": 9, "b": 6, "c": 9}
    assert [r.filtered.unscored for r in requests.values()] == [1, 1, 0]
    assert [r.filtered.search for r in requests.values()] == [None] * 3
    counters = engine.ledger.counters
    assert (counters.unscored, counters.swallowed_errors, counters.interventions) == (2, 1, 0)


def test_the_rows_may_run_in_another_order() -> None:
    """The host moves requests between rows; each value is of its own request."""
    engine = Engine({"a": live(), "b": live()}, [3])
    run = engine.runner.run

    def turned(ends: Any) -> Any:
        look = run(SimpleNamespace(positions=dict(reversed(ends.positions.items()))))
        engine.runner.kept.ends = ends
        return look

    engine.runner.run = turned

    assert engine.step(9, 2) == [None, 2]
    assert engine.step(9, 2) == [3, 2]


def test_rows_that_are_not_the_requests_stop_the_step() -> None:
    """If the host runs other rows than it was asked to, nothing is guessed."""
    engine = Engine({"a": live(), "b": live()})
    run = engine.runner.run
    engine.runner.run = lambda ends: run(SimpleNamespace(positions={"a": ends.positions["a"]}))

    with pytest.raises(SteeringError, match="1 rows for 2 requests"):
        engine.step(9, 2)
