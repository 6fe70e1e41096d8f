"""The search for an acceptable token in one row, without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.schedules import Params
from value_steer.config import Fallback
from value_steer.engine.requests import LiveRequest
from value_steer.engine.search import FallbackRule, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP = Params().eos_token_id or 0


def _search(values: dict[int, float], drawn: Sequence[int], candidates: int = 4) -> Search:
    """A search that has tried what it could, the model's own draw being token 9."""
    search = Search("a", _request(candidates=candidates), row=0, token=9)
    search.judge(values[9])
    search.expect(drawn)
    while search.open and search.waiting:
        search.token = search.waiting.pop(0)
        search.judge(values[search.token])
    return search


def _request(candidates: int = 4, *, constrained: bool = False, stop: int = STOP) -> LiveRequest:
    return LiveRequest(
        prompt_length=3,
        threshold=None,
        first_judged=4,
        first_endable=5,
        stop_token=stop,
        constrained=constrained,
        wants_logprobs=False,
        slot=0,
        vfd_threshold=0.5,
        candidates=candidates,
        length=5,
    )


def _rule(kind: Fallback, weight: float = 1.0) -> FallbackRule:
    return FallbackRule(kind, weight, lambda _, tokens: [0.1 * token for token in tokens])


@pytest.mark.parametrize(
    ("drawn", "committed", "refused"),
    [
        ([2, 3], 2, [9]),
        ([9, 5, 5, 9, 2], 2, [9, 5]),
        ([5, 6, 2], 2, [9, 5, 6]),
    ],
    ids=["first", "duplicates", "draw order"],
)
def test_the_first_acceptable_draw_is_committed(
    drawn: list[int], committed: int, refused: list[int]
) -> None:
    """Candidates are tried in draw order, each token once."""
    search = _search({9: 0.9, 5: 0.6, 6: 0.7, 2: 0.1, 3: 0.1}, drawn)

    assert search.token == committed
    assert [candidate.token for candidate in search.refused] == refused
    assert not search.open


@pytest.mark.parametrize(
    ("kind", "weight", "token"),
    [
        (Fallback.ARGMIN, 1.0, 5),
        (Fallback.ABSTAIN, 1.0, 5),
        (Fallback.NATURAL, 1.0, 9),
        (Fallback.ARGS, 0.0, 5),
        (Fallback.ARGS, 1.0, 9),
    ],
)
def test_the_fallback_is_taken_from_the_refused(kind: Fallback, weight: float, token: int) -> None:
    """The least undesirable one, the drawn one, or the best of value and probability."""
    search = _search({9: 0.9, 5: 0.6, 6: 0.7}, [5, 6])

    best = _rule(kind, weight).choose(search)

    assert best.token == token
    assert search.settle(best)
    assert (search.token, search.open) == (token, False)


def test_a_fallback_that_was_tried_last_is_not_run_again() -> None:
    """What the model has just run is what is kept."""
    search = _search({9: 0.9, 5: 0.6}, [5])

    assert not search.settle(_rule(Fallback.ARGMIN).choose(search))


@pytest.mark.parametrize(
    ("kind", "request_", "age", "ends"),
    [
        (Fallback.ABSTAIN, _request(), 0, True),
        (Fallback.ARGMIN, _request(), 0, False),
        (Fallback.ABSTAIN, _request(stop=-1), 0, False),
        (Fallback.ABSTAIN, _request(constrained=True), 0, False),
        (Fallback.ABSTAIN, _request(), -1, False),
    ],
    ids=["ends", "other fallback", "no stop token", "grammar", "too short"],
)
def test_a_request_is_ended_only_where_it_can_be(
    kind: Fallback, request_: LiveRequest, age: int, ends: object
) -> None:
    """A request that cannot be ended gets its least undesirable token instead."""
    search = Search("a", request_, row=0, token=9)

    assert _rule(kind).ends(search, age) is ends
