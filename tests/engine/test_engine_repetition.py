"""The scheduler's side of a step that a request does again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from value_steer.engine.repetition import repeating


class Scheduler:
    """Three requests: one that is given a token, one that is not, one amid its prompt."""

    def __init__(self) -> None:
        self.requests = {
            name: SimpleNamespace(num_computed_tokens=computed, num_tokens=9)
            for name, computed in (("given", 9), ("withheld", 9), ("prompt", 4))
        }

    def update(self, step: Any, output: Any) -> str:
        """Append the tokens, as the host does."""
        del step
        for name, row in output.req_id_to_index.items():
            if name in self.requests:
                self.requests[name].num_tokens += len(output.sampled_token_ids[row])
        return "what goes out"


@pytest.mark.parametrize(
    ("tokens", "computed"),
    [([[7], [], []], [9, 8, 4]), ([[7], [8], [9]], [9, 9, 4]), ([], [9, 9, 4])],
    ids=["one withheld", "none withheld", "nothing sampled"],
)
def test_a_request_without_a_token_computes_its_last_one_again(
    tokens: list[list[int]], computed: list[int]
) -> None:
    """A request that has tokens to compute anyway is left alone, and so is one that is gone."""
    scheduler = Scheduler()
    names = [*scheduler.requests, "gone"]
    rows = {name: row for row, name in enumerate(names)} if tokens else {}
    output = SimpleNamespace(
        sampled_token_ids=[*tokens, []] if tokens else [], req_id_to_index=rows
    )

    assert repeating(scheduler, scheduler.update)(None, output) == "what goes out"
    assert [r.num_computed_tokens for r in scheduler.requests.values()] == computed
