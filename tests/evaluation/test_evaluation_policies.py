"""Every way to decode, on a model whose right answers are known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import torch
from scipy.stats import chisquare

from tests.evaluation.talker import POLICY, PROMPT, sampler, step
from tests.test_reference import EOS, LOGITS
from value_steer.errors import SettingsError
from value_steer.evaluation.policies import (
    BASE,
    PolicySettings,
    always_argmin,
    args,
    base,
    controlled,
    filtered,
    filtered_or_abstain,
    policies,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from value_steer.evaluation.decoding import Commit, Step

SETTINGS = PolicySettings(candidates=3, best_of=4)
BY_NAME = {policy.name: policy for policy in policies(SETTINGS)}
BAD = {1: 0.9, 2: 0.8}


def drawn(
    choose: Callable[[Step], Commit], table: dict[int, float], count: int = 3000
) -> Counter[int]:
    """How often each token is committed."""
    return Counter(choose(step(table, seed)).token for seed in range(count))


def fits(counts: Counter[int], law: torch.Tensor) -> bool:
    """Whether counts follow a law, up to one chance in 10,000."""
    possible = [token for token in range(len(law)) if law[token] > 0]
    assert set(counts) <= set(possible)
    expected = law[possible] / law.sum() * counts.total()
    return bool(chisquare([counts[t] for t in possible], expected.numpy()).pvalue > 1e-4)


def test_the_base_policy_samples_the_model() -> None:
    """By inversion, from a number of its own for every position and request."""
    assert fits(drawn(base, {}), POLICY)


def test_the_nucleus_keeps_the_smallest_set_that_has_the_mass() -> None:
    """The token that crosses it is in."""
    policy = sampler({}, top_p=0.6).policy(LOGITS)

    assert policy.nonzero().flatten().tolist() == [1, 2]  # 0.39 and 0.24
    assert policy.sum().item() == pytest.approx(1.0)
    assert (policy[1] / policy[2]).item() == pytest.approx((POLICY[1] / POLICY[2]).item())


def test_filtering_follows_its_law() -> None:
    """The first acceptable of three draws: ``q (1 + b + b^2)``, and ``b^3`` for the least bad."""
    refused = POLICY[1] + POLICY[2]
    law = POLICY * (1 + refused + refused**2)
    law[1] = POLICY[1] ** 3
    law[2] = refused**3 - POLICY[1] ** 3

    assert fits(drawn(lambda s: filtered(s, SETTINGS), BAD), law)


def test_controlled_decoding_follows_its_law() -> None:
    """``p0 V`` over the likeliest three, or ``p0 exp(strength V)``."""
    good = torch.tensor([1.0, 0.1, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0]).double()
    top = torch.tensor([0.0, 1, 1, 1, 0, 0, 0, 0]).double()
    strong = PolicySettings(candidates=3, strength=2.0)

    assert fits(drawn(lambda s: controlled(s, SETTINGS), BAD), POLICY * good * top)
    assert fits(drawn(lambda s: controlled(s, strong), BAD), POLICY * (2 * good).exp() * top)


def test_controlled_decoding_without_mass_keeps_the_token() -> None:
    """A head that gives every candidate up leaves nothing to draw from."""
    hopeless = dict.fromkeys(range(8), 1.0)

    assert controlled(step(hopeless), SETTINGS).token == step(hopeless).natural


@pytest.mark.parametrize(("weight", "token"), [(0.0, 1), (1.0, 3), (0.5, 1)])
def test_args_weighs_value_against_probability(weight: float, token: int) -> None:
    """Token 3 is ``e^-1`` times as likely as token 1 and better by 0.9 + 0.3."""
    table = {1: 0.9, 2: 0.9, 3: -0.3}

    assert args(step(table), PolicySettings(candidates=3, args_weight=weight)).token == token


def test_always_argmin_needs_no_objection() -> None:
    """It leaves an acceptable token for a better one, which a filter does not."""
    table = {token: 0.4 - 0.05 * token for token in range(8)}
    steps = [step(table, seed) for seed in range(50)]

    for own in steps:
        chosen = always_argmin(own, SETTINGS).token
        assert own.looked[chosen].undesirable == min(
            look.undesirable for look in own.looked.values()
        )
    assert all(
        filtered(step(table, seed), SETTINGS).token == own.natural for seed, own in enumerate(steps)
    )
    assert any(
        always_argmin(step(table, s), SETTINGS).token != own.natural for s, own in enumerate(steps)
    )


def test_with_nothing_acceptable_a_response_is_withheld() -> None:
    """It ends, and says so; plain filtering takes the least bad."""
    hopeless = {token: 0.9 - 0.01 * token for token in range(8)}

    withheld = filtered_or_abstain(step(hopeless), SETTINGS)
    draft = BY_NAME["VFD, abstaining"].decode(sampler(hopeless), PROMPT, seed=0)

    assert (withheld.token, withheld.abstained, withheld.acceptable) == (EOS, True, False)
    assert (draft.tokens, draft.abstained) == ((EOS,), True)
    assert not filtered(step(hopeless), SETTINGS).acceptable


@pytest.mark.parametrize("name", [BASE, "VFD", "VFD, abstaining"])
def test_a_head_that_never_objects_changes_nothing(name: str) -> None:
    """Token for token and at the same cost: one row for the prompt and one for each token."""
    for seed in range(10):
        plain = BY_NAME[BASE].decode(sampler({}), PROMPT, seed)
        draft = BY_NAME[name].decode(sampler({}), PROMPT, seed)

        assert draft.tokens == plain.tokens
        assert draft.rows == 1 + len(draft.tokens)
        assert draft.interventions == draft.no_acceptable == 0
        expected = sum(LOGITS.double().log_softmax(-1)[list(draft.tokens)].tolist())
        assert draft.log_likelihood == pytest.approx(expected)


@pytest.mark.parametrize("table", [{}, {1: 0.5}, {1: 0.9, 2: 0.8}, {1: 0.9, 2: 0.8, 3: 0.7}])
def test_greedy_filtering_is_that_of_the_reference(table: dict[int, float]) -> None:
    """The same tokens as the reference decoder's own loop."""
    greedy = sampler(table, temperature=0.0)

    draft = BY_NAME["VFD"].decode(greedy, PROMPT, seed=0)

    assert list(draft.tokens) == greedy.reference.filter(PROMPT, candidates=3)


def test_until_an_objection_a_response_is_the_base_one() -> None:
    """Common random numbers: the first difference is the first intervention."""
    for seed in range(30):
        plain = BY_NAME[BASE].decode(sampler(BAD), PROMPT, seed).tokens
        own = BY_NAME["VFD"].decode(sampler(BAD), PROMPT, seed).tokens
        first = next((i for i, token in enumerate(plain) if token in BAD), len(plain))

        assert own[:first] == plain[:first]


def test_best_of_n_takes_the_response_that_ends_best() -> None:
    """The base response is among them, so it stays where it is best."""
    table = {token: 0.1 * token for token in range(8)}
    for seed in range(10):
        plain = BY_NAME[BASE].decode(sampler(table), PROMPT, seed)
        best = BY_NAME["best of 4"].decode(sampler(table), PROMPT, seed)

        assert best.undesirable <= plain.undesirable
        assert (best.interventions == 0) == (best.tokens == plain.tokens)
        assert best.rows >= 4 * 2


def test_settings_without_candidates_are_refused() -> None:
    """There must be a draw."""
    with pytest.raises(SettingsError, match="candidates = 0"):
        PolicySettings(candidates=0)
