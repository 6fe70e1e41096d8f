"""What is decided of a batch, and what its tables say of the tokens that are put in it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.engine.live import STOP, live
from value_steer.config import AbstainAction
from value_steer.engine.abstain import Abstainer, Judgement, StopTokens
from value_steer.engine.forcing.forced import BEGINS, ENDS, FORCED, Forcing
from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.rows import Rows
from value_steer.engine.scoring import Heads
from value_steer.engine.streaks import Streaks

if TYPE_CHECKING:
    from value_steer.engine.live_request import LiveRequest

CPU = torch.device("cpu")
LOW, HIGH = 0.1, 0.9
SAMPLED = 5
LOGITS = torch.tensor([0.0, 1.0, 4.0, 3.0, 2.0, 1.0])


def _request(**changes: Any) -> LiveRequest:
    """A request that ends below one half."""
    return live(**{"threshold": 0.5, **changes})


class Batch:
    """Rows that are judged by the first number of their hidden states."""

    def __init__(self, *requests: LiveRequest) -> None:
        table: Any = {f"r{slot}": request for slot, request in enumerate(requests)}
        for slot, request in enumerate(requests):
            request.slot = slot
        self.rows = Rows(8, CPU)
        self.rows.plan(list(table), table)
        forcing = Forcing(Scripts(message=(9, 8)), CPU)
        forcing.lay_out(requests, self.rows.slots)
        self._abstainer = Abstainer(
            Heads([lambda hidden: hidden[:, 0]]), Streaks(1, 4, CPU), lambda mask: mask, forcing
        )

    def judge(
        self, *values: float, refused: list[bool] | None = None
    ) -> tuple[Judgement, StopTokens]:
        """Judge a step in which the head sees these."""
        return self._abstainer.judge(
            torch.tensor(values).unsqueeze(1),
            self.rows,
            LOGITS.repeat(len(values), 1),
            None if refused is None else torch.tensor(refused),
        )

    def given(self, *values: float, refused: list[bool] | None = None) -> list[int]:
        """What the rows give out, and one position more for each."""
        judgement, stop_tokens = self.judge(*values, refused=refused)
        output = _output(len(values))
        stop_tokens.force(output, judgement)
        self.rows.age += 1
        tokens: list[int] = output.sampled_token_ids.flatten().tolist()
        return tokens


def _output(rows: int, table: Any = None) -> Any:
    sampled = torch.full((rows, 1), SAMPLED, dtype=torch.int32)
    return SimpleNamespace(sampled_token_ids=sampled, logprobs_tensors=table)


def test_nothing_is_forced_where_nothing_fires() -> None:
    """Then nobody has to look at the rows."""
    judgement, _ = Batch(_request(), _request()).judge(HIGH, HIGH)

    assert not judgement.may_force
    assert judgement.arrived().quiet
    assert judgement.arrived().rows(FORCED) == []


@pytest.mark.parametrize("action", [AbstainAction.END, AbstainAction.MESSAGE])
def test_a_row_whose_token_is_taken_back_decides_nothing(action: AbstainAction) -> None:
    """Its hidden state is that of a sequence which is not given out; what follows may fire."""
    batch = Batch(_request(action=action), _request(), _request())

    first = batch.given(LOW, LOW, HIGH, refused=[True, True, False])
    second = batch.given(LOW, LOW, HIGH, refused=[False, False, False])

    assert first == [SAMPLED] * 3
    assert second == [9 if action is AbstainAction.MESSAGE else STOP, STOP, SAMPLED]


def test_a_row_whose_token_is_taken_back_says_nothing() -> None:
    """Nor does it go on with what it was made to say."""
    batch = Batch(_request(action=AbstainAction.MESSAGE))
    batch.given(LOW)

    judgement, _ = batch.judge(LOW, refused=[True])

    assert judgement.arrived().quiet
    assert batch.given(LOW) == [8]


def test_what_has_fired_is_not_judged_again() -> None:
    """However low its values are, it says what it has begun to say, once."""
    batch = Batch(_request(action=AbstainAction.MESSAGE), _request())
    marks, values = [], []
    for _ in range(3):
        judgement, _ = batch.judge(LOW, HIGH)
        decided = judgement.arrived()
        marks.append({mark for mark in (FORCED, ENDS, BEGINS) if 0 in decided.rows(mark)})
        values.append([round(float(value), 3) for value in decided.values])
        batch.rows.age += 1

    assert marks == [{FORCED, BEGINS}, {FORCED}, {FORCED, ENDS}]
    assert values[0] == [LOW, HIGH]
    assert all(math.isnan(own) and other == HIGH for own, other in values[1:])


def test_a_token_that_is_put_in_has_its_own_log_probability_and_rank() -> None:
    """Those that the model gave it; the other rows keep theirs, and so do the other columns."""
    judgement, stop_tokens = Batch(_request(wants_logprobs=True), _request()).judge(LOW, HIGH)
    table = SimpleNamespace(
        logprob_token_ids=torch.tensor([[SAMPLED, 2], [SAMPLED, 2]]),
        logprobs=torch.tensor([[-3.5, -0.5], [-3.5, -0.5]]),
        selected_token_ranks=torch.tensor([3, 3]),
    )

    stop_tokens.force(_output(2, table), judgement)

    own = float(LOGITS.log_softmax(0)[STOP])
    assert table.logprob_token_ids.tolist() == [[STOP, 2], [SAMPLED, 2]]
    assert table.logprobs.flatten().tolist() == pytest.approx([own, -0.5, -3.5, -0.5])
    assert table.selected_token_ranks.tolist() == [5, 3], "token 5 is as probable"


@pytest.mark.parametrize("whole", [False, True])
def test_a_table_that_names_no_token_is_left_alone(*, whole: bool) -> None:
    """One of the whole vocabulary, in its own order; nor does it matter if there is none."""
    judgement, stop_tokens = Batch(_request(wants_logprobs=True)).judge(LOW)
    logprobs = LOGITS.log_softmax(0).unsqueeze(0)
    table = SimpleNamespace(
        logprob_token_ids=torch.empty(0),
        logprobs=logprobs.clone(),
        selected_token_ranks=torch.empty(0),
    )
    output = _output(1, table if whole else None)

    stop_tokens.force(output, judgement)

    assert output.sampled_token_ids.tolist() == [[STOP]]
    assert torch.equal(table.logprobs, logprobs)


@pytest.mark.parametrize("constrained", [False, True])
def test_only_a_grammar_forbids_an_end(*, constrained: bool) -> None:
    """The model itself may find it impossible; log-probabilities are read all the same."""
    batch = Batch(_request(constrained=constrained, wants_logprobs=True))
    logits = LOGITS.repeat(1, 1)
    logits[0, STOP] = -torch.inf

    read = StopTokens.read(logits, batch.rows.stop_tokens, batch.rows)

    assert read.scores is not None
    assert read.possible is None or read.possible.tolist() == [False]
    assert (read.possible is not None) is constrained
