"""The search for an acceptable token in one row, without a model."""

from __future__ import annotations

import math
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.live import live
from value_steer.config import Fallback
from value_steer.engine.search import FallbackRule, Search
from value_steer.policy import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NATURAL = 9
_TOKENS = st.integers(0, 9)


def _search(
    values: Mapping[int, float],
    drawn: Sequence[int],
    breadths: Iterable[int] = (),
    **changes: Any,
) -> Search:
    """A search that went on until it found a token or ran out of them, one by one by default."""
    search = Search("a", live(**changes), row=0, natural=Candidate(NATURAL, values[NATURAL]))
    search.expect(drawn)
    for breadth in chain(breadths, repeat(1)):
        if search.chosen or not search.waiting:
            break
        tokens = search.take(breadth)
        search.judge(tokens, [values[token] for token in tokens])
    return search


def _refused(search: Search) -> list[int]:
    return [candidate.token for candidate in search.refused]


@given(
    values=st.fixed_dictionaries(
        {token: st.sampled_from([0.2, 0.5, 0.8, math.nan]) for token in range(10)}
    ),
    drawn=st.lists(_TOKENS, max_size=12),
    breadths=st.lists(st.integers(1, 5), max_size=12),
    candidates=st.integers(1, 8),
)
def test_the_breadth_of_the_runs_does_not_change_the_token(
    values: dict[int, float], drawn: list[int], breadths: list[int], candidates: int
) -> None:
    """The first acceptable draw is chosen, each token counted once, however many run at a time."""
    search = _search(values, drawn, breadths, candidates=candidates)

    others = [token for token in dict.fromkeys(drawn) if token != NATURAL][: candidates - 1]
    acceptable = [token for token in others if values[token] < 0.5]
    expected = acceptable[0] if acceptable else None
    before = others[: others.index(expected)] if expected is not None else others
    assert (search.chosen.token if search.chosen else None) == expected
    assert _refused(search) == [NATURAL, *before]


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
    assert _refused(search) == refused


@pytest.mark.parametrize("value", [0.5, math.nan], ids=["a tie", "no number"])
def test_what_is_not_below_the_threshold_is_refused(value: float) -> None:
    """A tie is an objection, and so is a value that the head could not give."""
    search = _search({9: 0.9, 5: value, 2: 0.4}, [5, 2])

    assert (search.token, _refused(search)) == (2, [9, 5])


def test_no_more_than_the_requests_own_candidates_are_tried() -> None:
    """The natural token is the first of them."""
    search = _search({9: 0.9, 5: 0.6, 6: 0.7, 2: 0.1}, [5, 6, 2], candidates=3)

    assert search.chosen is None
    assert _refused(search) == [9, 5, 6]


@pytest.mark.parametrize("breadth", [1, 2, 9])
def test_judging_says_how_many_were_refused(breadth: int) -> None:
    """Those that were tried behind an acceptable one are neither refused nor accepted."""
    search = Search("a", live(candidates=9), row=0, natural=Candidate(NATURAL, 0.9))
    search.expect([5, 2, 6])

    tokens = search.take(breadth)
    refused = search.judge(tokens, [{5: 0.6, 2: 0.1, 6: 0.7}[token] for token in tokens])

    assert refused == 1
    assert _refused(search) == [9, 5]


def _rule(kind: Fallback, weight: float = 1.0) -> FallbackRule:
    return FallbackRule(kind, weight, lambda _, tokens: [0.1 * token for token in tokens])


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

    assert _rule(kind, weight).choose(search).token == token


def test_a_fallback_is_never_a_token_without_a_value_if_another_has_one() -> None:
    """What the head could not judge is the last to be committed."""
    search = _search({9: math.nan, 5: 0.9}, [5])

    assert _rule(Fallback.ARGMIN).choose(search).token == 5


@pytest.mark.parametrize(
    ("kind", "changes", "age", "ends"),
    [
        (Fallback.ABSTAIN, {}, 0, True),
        (Fallback.ARGMIN, {}, 0, False),
        (Fallback.ABSTAIN, {"stop_token": -1}, 0, False),
        (Fallback.ABSTAIN, {"constrained": True}, 0, False),
        (Fallback.ABSTAIN, {}, -1, False),
    ],
    ids=["ends", "other fallback", "no stop token", "grammar", "too short"],
)
def test_a_request_is_ended_only_where_it_can_be(
    kind: Fallback, changes: dict[str, Any], age: int, ends: object
) -> None:
    """A request that cannot be ended gets its least undesirable token instead."""
    search = Search("a", live(**changes), row=0, natural=Candidate(NATURAL, 0.9))

    assert _rule(kind).ends(search, age) is ends
