"""Value filtering of one sampled batch, on a model whose right answers are known."""

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
from value_steer.engine.trials import WholeBatch
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from value_steer.engine.requests import LiveRequest

VALUES = {1: 0.0, 2: 0.125, 3: 0.25, 5: 0.5, 6: 0.75, 9: 1.0}


class Table(dict[str, "LiveRequest"]):
    """The live requests, right after their batch was laid out."""

    age = 0


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


class Step:
    """One sampled batch, and all that filters it."""

    def __init__(
        self,
        requests: Mapping[str, LiveRequest],
        sampled: Sequence[int],
        drawn: Sequence[int] = (),
        *,
        fallback: Fallback = Fallback.ARGMIN,
        on_error: OnError = OnError.RAISE,
        fails_at: int | None = None,
    ) -> None:
        self.requests = requests
        runner: Any = Runner(VALUES, dict(zip(requests, sampled, strict=True)))
        self.runner = runner
        self.draws: Any = Draws(drawn)
        self.ledger = Ledger()
        steering: Any = SimpleNamespace(
            table=Table(requests), epoch=0, fired=None, ledger=self.ledger
        )
        self.steering = steering
        self._scored, self._fails_at = 0, fails_at
        self.output: Any = SimpleNamespace(
            req_ids=list(requests), sampled_token_ids=[[t] for t in sampled], logprobs=None
        )
        self.filter = ValueFilter(
            score=self._score,
            steering=self.steering,
            run_ahead=self.runner,
            prober=WholeBatch(runner),
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

    def run(self) -> list[int]:
        """Filter the batch; the tokens that come out."""
        self.filter(self.output)
        tokens = [tokens[0] for tokens in self.output.sampled_token_ids]
        if self.runner.kept is not None:
            going = self.runner.kept.ends.positions
            booked = dict(zip(self.requests, tokens, strict=True))
            assert {n: self.runner.tokens[n] for n in going} == {n: booked[n] for n in going}
        return tokens


def test_a_head_that_does_not_object_costs_no_search() -> None:
    """One step is run ahead, and nothing is drawn."""
    step = Step({"a": live(), "b": live()}, [2, 3])

    assert step.run() == [2, 3]
    assert step.runner.runs == [["a", "b"]]
    assert step.draws.asked == []
    counters = step.ledger.counters
    assert (counters.filtered, counters.interventions, counters.unscored) == (2, 0, 0)
    assert [r.filtered.p_undesirable for r in step.requests.values()] == [0.125, 0.25]


def test_the_first_acceptable_candidate_is_committed() -> None:
    """Only the rows that are objected to change, and only they are drawn for."""
    step = Step({"a": live(), "b": live(candidates=6), "c": live()}, [2, 9, 3], [6, 3, 2])

    assert step.run() == [2, 3, 3]
    assert step.draws.asked == [(1, 5)]
    request = step.requests["b"]
    assert (request.filtered.interventions, request.filtered.p_undesirable) == (1, 0.25)
    assert (step.ledger.counters.interventions, step.ledger.counters.no_acceptable) == (1, 0)


@pytest.mark.parametrize(
    ("drawn", "fallback", "token"),
    [
        ([6, 5], Fallback.ARGMIN, 5),
        ([5, 6], Fallback.ARGMIN, 5),
        ([5, 6], Fallback.NATURAL, 9),
        ([], Fallback.ARGMIN, 9),
    ],
    ids=["the last one tried", "an earlier one", "the natural one", "the only one"],
)
def test_without_an_acceptable_candidate_the_fallback_is_committed(
    drawn: list[int], fallback: Fallback, token: int
) -> None:
    """What comes out is what the model goes on from, whichever token was tried last."""
    step = Step({"a": live(), "b": live()}, [9, 2], drawn, fallback=fallback)

    assert step.run() == [token, 2]
    assert step.requests["a"].filtered.no_acceptable == 1
    assert step.ledger.counters.no_acceptable == 1
    assert step.ledger.counters.interventions == int(token != 9)


def test_a_fallback_that_is_held_is_not_run_again() -> None:
    """A request that has no other candidate costs no further run."""
    step = Step({"a": live(candidates=1)}, [9])

    assert step.run() == [9]
    assert len(step.runner.runs) == 1


def test_a_request_may_be_ended_instead() -> None:
    """It gets its stop token, its outcome says at which value, and the others go on."""
    step = Step({"a": live(), "b": live()}, [9, 6], [5], fallback=Fallback.ABSTAIN)
    step.requests["b"].vfd_threshold = 0.625

    assert step.run() == [STOP, 5]
    assert list(step.runner.kept.ends.positions) == ["b"]
    for name, request in step.requests.items():
        step.ledger.close(name, request)
    ended, going = step.ledger.outcomes()
    assert (ended.abstained, ended.response_tokens, ended.value) == (True, 2, 0.5)
    assert not going.abstained


def test_rows_that_abstention_ends_are_left_alone() -> None:
    """Their token is the stop token already."""
    step = Step({"a": live(), "b": live()}, [9, 9], [2])
    step.steering.fired = torch.tensor([True, False])

    assert step.run() == [9, 2]
    assert step.draws.asked == [(1, 3)]


def test_partial_prefills_and_unfiltered_requests_go_their_way() -> None:
    """The first have no next step, the second no objection."""
    requests = {"a": live(complete=False), "b": live(vfd_threshold=None), "c": live()}
    step = Step(requests, [9, 9, 2])

    assert step.run() == [9, 9, 2]
    assert step.runner.runs == [["b", "c"]]
    assert step.ledger.counters.filtered == 1


@pytest.mark.parametrize("output", [None, SimpleNamespace(req_ids=[])], ids=["none", "empty"])
def test_a_step_without_tokens_is_not_looked_at(output: Any) -> None:
    """There is nothing to run ahead from."""
    step = Step({"a": live()}, [9])
    step.filter(output)

    assert step.runner.runs == []


def test_a_batch_that_is_not_filtered_costs_nothing() -> None:
    """Requests that switched filtering off pay for none of it."""
    step = Step({"a": live(vfd_threshold=None)}, [9])

    assert step.run() == [9]
    assert step.runner.runs == []


def test_log_probabilities_follow_the_token() -> None:
    """The rows of committed tokens are exchanged, the others stay."""
    step = Step({"a": live(), "b": live()}, [3, 9], [2])
    step.output.logprobs = SimpleNamespace(
        logprob_token_ids=torch.tensor([[3], [9]]),
        logprobs=torch.tensor([[-0.5], [-0.5]]),
        sampled_token_ranks=torch.tensor([7, 7]),
    )
    step.run()

    table = step.output.logprobs
    assert table.logprob_token_ids.tolist() == [[3], [2]]
    assert table.logprobs.tolist() == [[-0.5], [-2.0]]
    assert table.sampled_token_ranks.tolist() == [7, 2]


def test_a_failed_decision_stops_the_step() -> None:
    """No token is served that nobody judged."""
    with pytest.raises(SteeringError, match="the head is broken"):
        Step({"a": live()}, [9], fails_at=1).run()


@pytest.mark.parametrize("fails_at", [1, 2, 3], ids=["at once", "in the search", "late"])
def test_passthrough_serves_what_the_model_drew_and_says_so(fails_at: int) -> None:
    """Nothing that was tried stays behind, whenever it fails; each token counts as unscored."""
    requests = {"a": live(), "b": live(candidates=2), "c": live(vfd_threshold=None)}
    step = Step(
        requests,
        [9, 6, 9],
        [5, 6],
        fallback=Fallback.ABSTAIN,
        on_error=OnError.PASSTHROUGH,
        fails_at=fails_at,
    )

    assert step.run() == [9, 6, 9]
    assert step.runner.kept is None
    assert step.runner.tokens == {"a": 9, "b": 6, "c": 9}
    assert [r.filtered.unscored for r in requests.values()] == [1, 1, 0]
    counters = step.ledger.counters
    assert (counters.unscored, counters.swallowed_errors, counters.interventions) == (2, 1, 0)
    for name, request in requests.items():
        step.ledger.close(name, request)
    assert [outcome.abstained for outcome in step.ledger.outcomes()] == [False] * 3


def test_the_rows_may_run_in_another_order() -> None:
    """The host moves requests between rows; each value is of its own request."""
    step = Step({"a": live(), "b": live()}, [9, 2], [3])
    run = step.runner.run

    def turned(ends: Any) -> Any:
        look = run(SimpleNamespace(positions=dict(reversed(ends.positions.items()))))
        step.runner.kept.ends = ends
        return look

    step.runner.run = turned

    assert step.run() == [3, 2]


def test_rows_that_are_not_the_requests_stop_the_step() -> None:
    """If the host runs other rows than it was asked to, nothing is guessed."""
    step = Step({"a": live(), "b": live()}, [9, 2])
    run = step.runner.run
    step.runner.run = lambda ends: run(SimpleNamespace(positions={"a": ends.positions["a"]}))

    with pytest.raises(SteeringError, match="1 rows for 2 requests"):
        step.run()
