"""The search for an acceptable token in one row, without a model."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.live import live
from value_steer.config import Fallback
from value_steer.engine.filtering.search import FallbackRule, Search
from value_steer.policy import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NATURAL = 9


SOURCE: Any = SimpleNamespace(
    of=lambda rows: torch.tensor([[0.1 * token for token in range(10)] for _ in rows]).log()
)
"""The probability of a token grows with its number."""


def _opened(p_undesirable: float = 0.9) -> Search:
    """A search whose natural token was refused."""
    return Search(4, SOURCE, 0, [Candidate(NATURAL, p_undesirable)])


def _search(values: Mapping[int, float], drawn: Sequence[int], candidates: int = 9) -> Search:
    """A search in which every candidate was refused."""
    search = _opened(values[NATURAL])
    search.expect(drawn, candidates)
    while search.waiting:
        search.refuse(values[search.next])
    return search


@given(drawn=st.lists(st.integers(0, 9), max_size=12), candidates=st.integers(1, 8))
def test_candidates_are_tried_in_draw_order_each_once(drawn: list[int], candidates: int) -> None:
    """And no more than the request's own number of them, the natural one included."""
    search = _opened()
    search.expect(drawn, candidates)

    others = [token for token in dict.fromkeys(drawn) if token != NATURAL][: candidates - 1]
    assert search.waiting == others
    for token in others:
        assert search.next == token
        assert search.refuse(0.8) == Candidate(token, 0.8)
    assert [candidate.token for candidate in search.refused] == [NATURAL, *others]
    assert search.natural.token == NATURAL


def test_a_settled_search_tries_what_it_settled_for() -> None:
    """Its keys and values have been overwritten by those of later candidates."""
    search = _search({9: 0.9, 5: 0.6, 6: 0.7}, [5, 6])
    search.settled = search.refused[1]

    assert search.next == 5


@pytest.mark.parametrize(
    ("kind", "weight", "token"),
    [
        (Fallback.ARGMIN, 1.0, 5),
        (Fallback.ABSTAIN, 1.0, 5),
        (Fallback.NATURAL, 1.0, 9),
        (Fallback.ARGS, 0.0, 5),
        (Fallback.ARGS, 4.5, 9),
    ],
)
def test_the_fallback_is_taken_from_the_refused(kind: Fallback, weight: float, token: int) -> None:
    """The least undesirable one, the drawn one, or the best of value and probability."""
    search = _search({9: 0.9, 5: 0.6, 6: 0.7}, [5, 6])

    assert FallbackRule(kind, weight).choose(search).token == token


def test_a_fallback_is_never_a_token_without_a_value_if_another_has_one() -> None:
    """What the head could not judge is the last to be committed."""
    search = _search({9: math.nan, 5: 0.9}, [5])

    assert FallbackRule(Fallback.ARGMIN, 1.0).choose(search).token == 5


@pytest.mark.parametrize(
    ("kind", "changes", "longer", "ends"),
    [
        (Fallback.ABSTAIN, {}, 0, True),
        (Fallback.ARGMIN, {}, 0, False),
        (Fallback.ABSTAIN, {"stop_token": 0}, 0, True),
        (Fallback.ABSTAIN, {"stop_token": -1}, 0, False),
        (Fallback.ABSTAIN, {"constrained": True}, 0, False),
        (Fallback.ABSTAIN, {}, -1, False),
    ],
    ids=["ends", "other fallback", "the first token", "no stop token", "grammar", "too short"],
)
def test_a_request_is_ended_only_where_it_can_be(
    kind: Fallback, changes: dict[str, Any], longer: int, ends: object
) -> None:
    """A request that cannot be ended gets its least undesirable token instead."""
    request = live(**changes)

    ended = FallbackRule(kind, 1.0).abstains and request.endable_at(request.length + longer)
    assert ended is ends
