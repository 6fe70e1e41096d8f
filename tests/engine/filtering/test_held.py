"""What the head says of held tokens: by which head, by which threshold, and who is not asked."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.engine.live import live
from value_steer.engine.filtering.held import HeldTokens
from value_steer.engine.filtering.late import FilteredRow
from value_steer.engine.scoring import Heads
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.engine.filtering.held import Look
    from value_steer.engine.live_request import LiveRequest


def _holding(**changes: Any) -> LiveRequest:
    """A filtered request that holds a token."""
    request = live(**changes)
    request.filtered.holds = True
    return request


def _laid_out(requests: Mapping[int, LiveRequest], count: int) -> HeldTokens:
    """Filtered requests by their row among the rows of a batch of two heads."""
    heads = Heads([lambda h: h[:, 0], lambda h: h[:, 1]])
    held = HeldTokens(heads)
    held.lay_out([FilteredRow(row, f"r{row}", one) for row, one in requests.items()], count)
    return held


def _asked(held: HeldTokens, *values: Sequence[float] | float) -> Look:
    """What the head says where it sees these; one number stands for all heads."""
    rows = [[one, one] if isinstance(one, float) else list(one) for one in values]
    look = held.look(torch.tensor(rows))
    assert look is not None
    return look


def test_each_row_has_its_own_head_and_threshold() -> None:
    """A value that equals its threshold is refused."""
    held = _laid_out(
        {
            0: _holding(vfd_threshold=0.5),
            1: _holding(vfd_threshold=0.5, vfd_head=1),
            2: _holding(vfd_threshold=0.75, vfd_head=1),
        },
        3,
    )

    look = _asked(held, (0.25, 0.875), (0.875, 0.25), (0.0, 0.75))

    assert look.values.tolist() == [0.25, 0.25, 0.75]
    assert look.refused.tolist() == [False, False, True]
    values, refused = held.on_host(look)
    assert (values.tolist(), refused) == ([0.25, 0.25, 0.75], [False, False, True])


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_a_row_that_is_not_filtered_is_never_refused(value: float) -> None:
    """Whatever the head says of it; its value is not told either."""
    held = _laid_out({1: _holding(), 3: _holding()}, 4)

    look = _asked(held, value, 0.875, value, 0.125)

    assert look.refused.tolist() == [False, True, False, False]
    values = held.without(held.on_host(look)[0], [])
    assert np.isnan(values).tolist() == [True, False, True, False]


def test_an_engine_may_have_one_head() -> None:
    """Of which the rows that are not filtered know nothing."""
    held = HeldTokens(Heads([lambda h: h[:, 0]]))
    held.lay_out([FilteredRow(1, "r1", _holding())], 2)

    assert _asked(held, 0.875, 0.875).refused.tolist() == [False, True]


def test_a_threshold_is_exact_whatever_the_model_computes_in() -> None:
    """It is compared with a probability in single precision."""
    held = HeldTokens(lambda *_: torch.tensor([0.503]))
    held.lay_out([FilteredRow(0, "r0", _holding(vfd_threshold=0.502))], 1)

    look = held.look(torch.zeros(1, 2, dtype=torch.bfloat16))

    assert look is not None
    assert look.refused.tolist() == [True], "in bfloat16 the threshold would be 0.50390625"


@pytest.mark.parametrize("value", [1.0, math.nan])
@pytest.mark.parametrize("case", ["holds nothing", "decided", "control"])
def test_who_is_given_out_anyway_is_not_refused(case: str, value: float) -> None:
    """The others of the batch are."""
    request = _holding(control=case == "control")
    request.filtered.holds = case != "holds nothing"
    request.filtered.decided = case == "decided"
    held = _laid_out({0: request, 1: _holding()}, 2)

    for _ in range(2):
        assert _asked(held, value, value).refused.tolist() == [False, True]


def test_nobody_is_asked_about_while_nobody_holds_a_token() -> None:
    """As in the step that samples the first ones."""
    held = _laid_out({0: live(), 1: live()}, 2)

    assert held.look(torch.ones(2, 2)) is None
    values, refused = held.on_host(None)
    assert np.isnan(values).all()
    assert values.dtype == np.float32
    assert refused == [False, False]


def test_a_token_that_is_decided_has_a_value_all_the_same() -> None:
    """It is given out with that."""
    request = _holding()
    request.filtered.decided = True

    look = _asked(_laid_out({0: request}, 1), 0.875)

    assert (look.values.tolist(), look.refused.tolist()) == ([0.875], [False])


def test_a_request_that_tests_itself_has_one_token_refused() -> None:
    """The first that the model draws, whatever the head says; not the candidates for it."""
    request = _holding(refuses_next=True)
    held = _laid_out({0: request, 1: _holding()}, 2)
    assert _asked(held, 0.0, 0.0).refused.tolist() == [True, False]

    search: Any = SimpleNamespace()
    request.filtered.search = search

    assert _asked(held, 0.0, 0.0).refused.tolist() == [False, False]
    assert _asked(held, 0.5, 0.0).refused.tolist() == [True, False]


def test_who_holds_a_token_is_known_once_that_has_changed() -> None:
    """In a batch whose rows have not."""
    request = live()
    held = _laid_out({0: request, 1: _holding()}, 2)
    assert _asked(held, 1.0, 1.0).refused.tolist() == [False, True]

    request.filtered.holds = True
    held.changed()
    assert _asked(held, 1.0, 1.0).refused.tolist() == [True, True]

    request.filtered.decided = True
    held.changed_by([False, True])
    assert _asked(held, 1.0, 1.0).refused.tolist() == [False, True]


@pytest.mark.parametrize(
    ("requests", "special", "constrained"),
    [
        ([_holding()], False, False),
        ([_holding(), _holding(constrained=True)], True, True),
        ([_holding(constrained=True), _holding()], True, True),
        ([_holding(refuses_next=True), _holding()], True, False),
        ([live(), _holding()], True, False),
    ],
    ids=["none", "a grammar", "a grammar before others", "a test", "holds nothing"],
)
def test_a_row_that_needs_more_than_its_value_is_noticed(
    requests: list[LiveRequest], *, special: bool, constrained: bool
) -> None:
    """Then each row is looked at, and who is judged is laid out anew for the next step."""
    held = _laid_out(dict(enumerate(requests)), len(requests))

    _asked(held, *[0.0] * len(requests))

    assert (held.special, held.constrained) == (special, constrained)
    held.lay_out([], 1)
    assert (held.special, held.constrained) == (False, False)


def test_what_is_not_given_out_has_no_value() -> None:
    """Where every row is filtered as well."""
    held = _laid_out({0: _holding(), 1: _holding()}, 2)
    values = np.array([0.25, 0.5], dtype=np.float32)

    assert held.without(values, []) is values
    assert np.isnan(held.without(values, [1])).tolist() == [False, True]
    assert values.tolist() == [0.25, 0.5], "it is another's"


def test_values_of_another_batch_are_an_error() -> None:
    """Nothing is guessed."""
    held = _laid_out({0: _holding()}, 1)
    look = _asked(held, 0.5)
    held.lay_out([FilteredRow(0, "r0", _holding())], 2)

    with pytest.raises(SteeringError, match="another batch than the 2 rows sampled"):
        held.on_host(look)
