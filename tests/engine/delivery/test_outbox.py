"""A token waits for its judgement, with whatever goes out beside it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.engine.simulation.batches import LogprobsLists
from value_steer.engine.delivery.outbox import Delivery, LateRow, Outbox, Score, Verdicts
from value_steer.engine.delivery.report import Ending, StepReport, report_of


def _output(*tokens: int, width: int = 0, **beside: Any) -> Any:
    """What the host gives out; its table says of each token its number, and of others -1."""
    table = None
    if width:
        ids = np.full((len(tokens), width), -1)
        ids[:, 0] = tokens
        table = LogprobsLists(ids, -ids.astype(float), np.array(tokens))
    return SimpleNamespace(
        sampled_token_ids=[[token] for token in tokens],
        logprobs=table,
        prompt_logprobs_dict={},
        **beside,
    )


class Box:
    """An outbox, and steps of two late rows through it."""

    def __init__(self) -> None:
        self.outbox = Outbox()

    def step(
        self,
        output: Any,
        *,
        endings: dict[str, Ending] | None = None,
        over: tuple[str, ...] = (),
        **verdicts: Any,
    ) -> list[list[int]]:
        """What a step gives out."""
        late = [LateRow(0, "a"), LateRow(1, "b")]
        delivery = Delivery(
            late, Verdicts(**verdicts), over, StepReport(), lambda _: dict(endings or {})
        )
        self.given = self.outbox.pass_on(output, delivery)
        report = report_of(self.given)
        assert report is not None
        self.endings = report.endings
        tokens: list[list[int]] = self.given.sampled_token_ids
        return tokens


def _begun(**beside: Any) -> Box:
    box = Box()
    assert box.step(_output(5, 6, **beside), first={"a", "b"}) == [[], []]
    return box


def test_each_step_gives_out_what_the_one_before_sampled() -> None:
    """Rows that are not late go their way."""
    box = _begun()

    assert box.step(_output(7, 8, 9)) == [[5], [6], [9]]
    assert box.step(_output(1, 2, 3)) == [[7], [8], [3]]
    assert len(box.outbox) == 2


def test_a_refused_token_is_replaced() -> None:
    """Nothing goes out; the candidate waits in its place."""
    box = _begun()

    assert box.step(_output(7, 8), again={"a"}) == [[], [6]]
    assert box.step(_output(1, 2)) == [[7], [8]]


def test_a_row_may_hold_nothing_after_it_gave_out() -> None:
    """It begins anew with the next step."""
    box = _begun()

    assert box.step(_output(5, 8), emptied={"a"}) == [[5], [6]]
    assert box.step(_output(7, 9), first={"a"}) == [[], [8]]
    assert box.step(_output(1, 2)) == [[7], [9]]


def test_what_is_over_is_forgotten() -> None:
    """Its id may come again."""
    box = _begun()

    assert box.step(_output(7, 8), over=("a",), first={"a"}) == [[], [6]]
    assert box.step(_output(1, 2)) == [[7], [8]]


def test_an_ending_goes_out_with_its_token() -> None:
    """It was decided in the step that sampled the stop token."""
    box = _begun()

    box.step(_output(1, 8), endings={"a": Ending.ABSTAINED, "early": Ending.REFUSED})
    assert box.endings == {"early": Ending.REFUSED}
    box.step(_output(7, 9))
    assert box.endings == {"a": Ending.ABSTAINED}


@pytest.mark.parametrize("name", ["prompt_logprobs_dict", "prompt_token_id_logprobs_dict"])
def test_log_probabilities_of_a_prompt_wait_for_a_token(name: str) -> None:
    """Refusals and preemptions before it included; the second kind came with vLLM 0.31."""
    box = _begun(prompt_token_id_logprobs_dict={})
    output = _output(5, 6, prompt_token_id_logprobs_dict={})
    getattr(output, name)["a"] = "of the prompt"
    box = Box()
    box.step(output, first={"a", "b"})
    assert getattr(box.given, name) == {}
    box.step(_output(7, 8, prompt_token_id_logprobs_dict={}), again={"a"})
    box.step(_output(7, 8, prompt_token_id_logprobs_dict={}), first={"a"})
    assert getattr(box.given, name) == {}
    box.step(_output(1, 2, prompt_token_id_logprobs_dict={}))
    assert getattr(box.given, name) == {"a": "of the prompt"}


def test_log_probabilities_follow_the_token() -> None:
    """A row of a wider table than the step's own is kept whole."""
    box = Box()
    box.step(_output(5, 6, width=3), first={"a", "b"})
    box.step(_output(7, 8, width=2), again={"a"}, scores={"a": Score(7, -0.5, 2)})
    assert box.given.logprobs.logprob_token_ids.tolist() == [[7, -1, 0], [6, -1, -1]]

    box.step(_output(1, 2, width=1))

    table = box.given.logprobs
    assert table.logprob_token_ids.tolist() == [[7, -1, -1], [8, -1, 0]]
    assert table.logprobs[0, 0] == -0.5
    assert table.sampled_token_ranks.tolist() == [2, 8]


def test_a_table_of_the_whole_vocabulary_follows_the_token() -> None:
    """It speaks of every token in its own order, so one put in another's place changes nothing."""

    def whole(*rows: list[float]) -> Any:
        output = _output(*range(5, 5 + len(rows)))
        output.logprobs = LogprobsLists(np.empty(0), np.array(rows), np.empty(0))
        return output

    box, score = Box(), {"a": Score(9, -0.25, 4)}
    box.step(whole([0.0, 1.0], [2.0, 3.0]), first={"a", "b"}, scores=score)
    box.step(whole([4.0, 5.0], [6.0, 7.0]), again={"a"}, scores=score)
    assert box.given.logprobs.logprobs.tolist() == [[4.0, 5.0], [2.0, 3.0]]

    sampled = whole([8.0, 9.0], [1.0, 0.0], [3.0, 2.0])
    box.step(sampled)

    assert box.given.logprobs.logprobs.tolist() == [[0.0, 1.0], [6.0, 7.0], [3.0, 2.0]]


def test_a_candidate_without_a_table_needs_no_score() -> None:
    """The batch it was sampled in had none."""
    box = _begun()

    assert box.step(_output(7, 8), again={"a"}, scores={"a": Score(7, -0.5, 2)}) == [[], [6]]
    assert box.given.logprobs is None


def test_a_candidate_that_is_tried_again_after_a_preemption_has_its_own_score() -> None:
    """The row was sampled anew, and the natural token is what its table speaks of."""
    box = Box()
    box.step(_output(5, 6, width=1), first={"a", "b"}, scores={"a": Score(9, -0.25, 4)})
    box.step(_output(1, 2, width=1))

    assert box.given.logprobs.logprob_token_ids[0].tolist() == [9]
    assert box.given.logprobs.sampled_token_ranks[0] == 4
