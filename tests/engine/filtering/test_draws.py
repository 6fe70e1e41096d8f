"""Further candidates follow the distribution that the first one was drawn from."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from value_steer.engine.filtering.draws import (
    IMPOSSIBLE,
    Redraw,
    draw,
    most_probable,
    probabilities,
    redraw,
)

POLICY = [0.4, 0.3, 0.15, 0.1, 0.05, 0.0]
DRAWS = 20_000
CRITICAL = 18.47
"""Of chi-square with four degrees of freedom, at 0.001."""


def _drawn(*asked: Any) -> list[int]:
    return [token for token in draw(*asked).tolist() if token != IMPOSSIBLE]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_follow_the_distribution() -> None:
    """Chi-square over many draws with a fixed generator; an impossible token never comes."""
    counts = Counter(_drawn(torch.tensor(POLICY), DRAWS, _generator()))

    expected = [DRAWS * share for share in POLICY[:-1]]
    deviation = sum((counts[i] - e) ** 2 / e for i, e in enumerate(expected))
    assert deviation < CRITICAL
    assert counts[len(POLICY) - 1] == 0


def test_the_test_of_the_law_tells_other_laws_apart() -> None:
    """Draws from a slightly other distribution would not pass for it."""
    other = torch.tensor([0.38, 0.32, 0.15, 0.1, 0.05, 0.0])
    counts = Counter(_drawn(other, DRAWS, _generator()))

    expected = [DRAWS * share for share in POLICY[:-1]]
    assert sum((counts[i] - e) ** 2 / e for i, e in enumerate(expected)) > CRITICAL


def test_draws_depend_on_their_own_generator_alone() -> None:
    """The same generator gives the same draws, and the global one is left as it was."""
    policy = torch.tensor(POLICY)
    state = torch.get_rng_state()
    first, again = (_drawn(policy, 50, _generator(7)) for _ in range(2))

    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    assert _drawn(policy, 50, _generator(8)) != first


def test_tokens_come_back_as_often_as_they_are_drawn() -> None:
    """With replacement: a certain token is drawn every time."""
    assert _drawn(torch.tensor([0.0, 1.0, 0.0]), 3, _generator()) == [1, 1, 1]


def test_no_draws_take_no_randomness() -> None:
    """A request that has no other candidate leaves its generator alone."""
    generator = _generator()
    state = generator.get_state()

    assert _drawn(torch.tensor(POLICY), 0, generator) == []
    assert torch.equal(generator.get_state(), state)


def test_no_draws_are_where_the_others_are() -> None:
    """They are joined with those of other rows, which are on the device."""
    policy = torch.tensor(POLICY, device="meta")

    assert draw(policy, 0, None).device == policy.device


def test_a_hit_beyond_the_possible_tokens_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding of the cumulative distribution can hit the last token."""
    monkeypatch.setattr(torch, "multinomial", lambda *_, **__: torch.tensor([1, 5, 0, 5]))

    assert _drawn(torch.tensor(POLICY), 4, None) == [1, 0]


@pytest.mark.parametrize(
    ("logits", "count", "tokens"),
    [
        ([0.0, 3.0, 1.0, 2.0], 2, [1, 3, 2]),
        ([1.0, 2.0, 1.0, 2.0, 1.0], 3, [1, 3, 0, 2]),
        ([1.0, 2.0, 3.0], 0, [2]),
        ([1.0, 2.0], 9, [1, 0]),
        ([-math.inf, 1.0, -math.inf, 2.0], 3, [3, 1]),
    ],
    ids=["in order", "ties", "only one", "no more than there are", "impossible ones"],
)
def test_the_most_probable_tokens(logits: list[float], count: int, tokens: list[int]) -> None:
    """One more than are asked for, the natural one is among them; ties by token id."""
    found = most_probable(torch.tensor(logits), count).tolist()
    assert [token for token in found if token != IMPOSSIBLE] == tokens


def test_ties_are_in_order_wherever_they_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator may leave them in any order, unless it is asked not to."""
    sort = torch.Tensor.sort

    def reversed_ties(self: torch.Tensor, *, descending: Any, stable: Any = False) -> Any:
        if stable:
            return sort(self, descending=descending, stable=True)
        values, order = sort(self.flip(0), descending=descending, stable=True)
        return values, len(self) - 1 - order

    monkeypatch.setattr(torch.Tensor, "sort", reversed_ties)

    assert most_probable(torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0]), 3).tolist() == [1, 3, 0, 2]


def test_probabilities_are_in_single_precision() -> None:
    """Whatever the model computes in."""
    logits = torch.tensor([[0.0, math.log(3.0), -math.inf]], dtype=torch.bfloat16)

    found = probabilities(logits)

    assert found.dtype == torch.float32
    assert found[0].tolist() == pytest.approx([0.25, 0.75, 0.0], abs=2e-3)


def test_each_row_draws_from_its_own_distribution_and_randomness() -> None:
    """The row's own source before the request's; a greedy row takes none."""
    table = torch.tensor([[0.0, 1.0, 2.0], [-math.inf, 0.0, -math.inf], POLICY[:3], POLICY[3:]])
    own = {name: _generator(1) for name in ("a", "b", "c")}
    source: Any = SimpleNamespace(
        of=lambda rows: table[list(rows)].log(),
        generators=lambda rows: [_generator(2) if row == 3 else None for row in rows],
    )
    table = table.exp()
    wanted = [
        Redraw("c", 0, 2, greedy=True),
        Redraw("b", 2, 5, greedy=False),
        Redraw("a", 3, 5, greedy=False),
        Redraw("a", 3, 0, greedy=False),
    ]

    greedy, by_request, by_row, none = redraw(source, wanted, own.__getitem__)

    policies = probabilities(table.log())
    assert greedy == [2, 1, 0]
    assert none == []
    assert {type(token) for token in (*greedy, *by_request, *by_row)} == {int}
    assert by_request == _drawn(policies[2], 5, _generator(1))
    assert by_row == _drawn(policies[3], 5, _generator(2))
    assert torch.equal(own["a"].get_state(), _generator(1).get_state())
