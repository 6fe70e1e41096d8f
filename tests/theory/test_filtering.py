"""What filtering by the exact value does, by enumeration.

Thresholds are on P(undesirable), ``u``; the comparison is the runtime's own. ``c = 1 - threshold``
is the same threshold on the value.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.theory.trees import THRESHOLDS, TREES, Node, expected, paths, states
from value_steer.policy import Candidate, acceptable, least_undesirable

if TYPE_CHECKING:
    from tests.theory.trees import Children, Path, Policy

DRAWS = st.integers(1, 3)


def passes(node: Node, threshold: Fraction) -> bool:
    """The runtime's decision."""
    return acceptable(float(node.p_undesirable), float(threshold))


def restricted(threshold: Fraction) -> Policy:
    """The base policy given that the token is acceptable; undefined where none is."""

    def policy(node: Node) -> Children:
        kept = [(p, child) for p, child in node.children if passes(child, threshold)]
        mass = sum(p for p, _ in kept)
        return tuple((p / mass, child) for p, child in kept)

    return policy


def drawn(threshold: Fraction, draws: int) -> Policy:
    """The first acceptable of some draws, else the least undesirable: over all ways to draw."""

    def policy(node: Node) -> Children:
        law = [Fraction(0)] * len(node.children)
        for tokens in itertools.product(range(len(node.children)), repeat=draws):
            probability = math.prod((node.children[t][0] for t in tokens), start=Fraction(1))
            law[_committed(node, tokens, threshold)] += probability
        return tuple((p, child) for p, (_, child) in zip(law, node.children, strict=True) if p > 0)

    return policy


def _committed(node: Node, tokens: tuple[int, ...], threshold: Fraction) -> int:
    for token in tokens:
        if passes(node.children[token][1], threshold):
            return token
    refused = [Candidate(t, float(node.children[t][1].p_undesirable)) for t in tokens]
    return least_undesirable(refused).token


@given(TREES, THRESHOLDS, DRAWS)
def test_the_token_has_the_law_of_the_first_acceptable(
    root: Node, threshold: Fraction, draws: int
) -> None:
    """``q (1 + b + ... + b^(K-1))``; all draws fail with ``b^K``."""
    refused = sum((p for p, child in root.children if not passes(child, threshold)), Fraction(0))
    law = {id(child): Fraction(0) for _, child in root.children}
    prior = dict(law)
    for probability, child in drawn(threshold, draws)(root):
        law[id(child)] += probability
    for probability, child in root.children:
        prior[id(child)] += probability

    left = Fraction(0)
    for child in {id(child): child for _, child in root.children}.values():
        if passes(child, threshold):
            repeats = sum((refused**k for k in range(draws)), Fraction(0))
            assert law[id(child)] == prior[id(child)] * repeats
        else:
            left += law[id(child)]
    assert left == refused**draws


@given(TREES, THRESHOLDS, DRAWS)
def test_no_step_lowers_the_value(root: Node, threshold: Fraction, draws: int) -> None:
    """So a filtered response is good at least as often, for any threshold and number of draws."""
    policy = drawn(threshold, draws)

    for state in states(root):
        assert sum(p * child.value for p, child in policy(state)) >= state.value
    assert expected(root, policy) >= root.value


@given(TREES, THRESHOLDS)
def test_an_acceptable_prompt_is_never_stuck_and_always_ends_well(
    root: Node, threshold: Fraction
) -> None:
    """From an acceptable state some acceptable token follows, so the last one is good."""
    assume(passes(root, threshold))

    for state in states(root):
        if passes(state, threshold):
            assert any(passes(child, threshold) for _, child in state.children)
    assert expected(root, restricted(threshold)) == 1


@given(TREES, THRESHOLDS)
def test_it_stays_as_near_to_the_model_as_it_must(root: Node, threshold: Fraction) -> None:
    """``KL(filtered || base) = E[sum_t -log Z_t]``, with ``Z`` the acceptable mass of a state."""
    assume(passes(root, threshold))
    policy = restricted(threshold)

    divergence, mass = 0.0, 0.0
    for path in paths(root, policy):
        kept = [_acceptable_mass(state, threshold) for state in path.nodes[:-1]]
        before = path.probability * math.prod(kept, start=Fraction(1))
        divergence += float(path.probability) * math.log(path.probability / before)
        mass += float(path.probability) * sum(-math.log(z) for z in kept)

    assert divergence == pytest.approx(mass, abs=1e-12)


def _acceptable_mass(state: Node, threshold: Fraction) -> Fraction:
    return sum((p for p, child in state.children if passes(child, threshold)), Fraction(0))


@given(TREES)
def test_the_likelihood_ratio_is_a_supermartingale_of_good_responses(root: Node) -> None:
    """``u / (1 - u)``, and a martingale where no token makes a bad response certain.

    Such a token is never drawn in a good response, so what the ratio would have gained is lost.
    """
    for state in states(root):
        if state.value > 0:
            after = sum(
                p * child.value / state.value * (child.p_undesirable / child.value)
                for p, child in state.children
                if child.value > 0
            )
            now = state.p_undesirable / state.value
            assert after <= now
            if all(child.value > 0 for _, child in state.children):
                assert after == now


@given(TREES, THRESHOLDS)
def test_false_interventions_are_bounded_in_advance(root: Node, threshold: Fraction) -> None:
    """Ville: ``P(max u >= threshold | good) <= u0 / (1 - u0) (1 - threshold) / threshold``."""
    assume(root.value > 0)
    touched = sum(
        (p.probability * p.reward for p in paths(root) if intervened(p, threshold)), Fraction(0)
    )

    bound = root.p_undesirable / root.value * (1 - threshold) / threshold

    assert touched / root.value <= bound


@given(TREES, THRESHOLDS)
def test_interventions_are_bounded_and_seldom_needless(root: Node, threshold: Fraction) -> None:
    """``P(max u >= threshold) <= u0 / threshold``; ``P(good | intervened) <= 1 - threshold``."""
    acted = [path for path in paths(root) if intervened(path, threshold)]
    mass = sum((path.probability for path in acted), Fraction(0))
    good = sum((path.probability * path.reward for path in acted), Fraction(0))

    assert mass * threshold <= root.p_undesirable
    assert good <= (1 - threshold) * mass


def intervened(path: Path, threshold: Fraction) -> bool:
    """Whether the filter would act on a response of the base policy."""
    return not all(passes(state, threshold) for state in path.nodes[1:])
