"""What abstaining below the exact value is worth, by enumeration: papers' claims as identities.

The rule ends a response in the first state whose value is below the reward of abstaining; the
comparison is the runtime's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.theory.trees import BAD, GOOD, THRESHOLDS, TREES, Node, Path, node, paths, states
from value_steer.policy import below_threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_JUDGED = st.sampled_from([0, 1])
"""``min_tokens``: whether the prompt is judged as well."""


@dataclass(frozen=True)
class Outcome:
    """A response, and where it was ended, if it was."""

    path: Path
    ended_at: int | None

    @property
    def value(self) -> Fraction:
        """Of the state in which it was ended."""
        assert self.ended_at is not None
        return self.path.nodes[self.ended_at].value


def dynamic(root: Node, reward: Fraction, first_judged: int = 0) -> Iterator[Outcome]:
    """Ended in the first state below the reward; a finished response is not judged."""
    for path in paths(root):
        values = torch.tensor([float(state.value) for state in path.nodes[:-1]])
        below = below_threshold(values, torch.full_like(values, float(reward))).tolist()
        crossed = [at for at, is_below in enumerate(below) if is_below and at >= first_judged]
        yield Outcome(path, crossed[0] if crossed else None)


def fixed(root: Node, reward: Fraction, at: int) -> Iterator[Outcome]:
    """Judged after one number of tokens only."""
    for path in paths(root):
        judged = at < len(path.nodes) - 1
        ended = judged and path.nodes[at].value < reward
        yield Outcome(path, at if ended else None)


def worth(outcomes: Iterator[Outcome], reward: Fraction) -> Fraction:
    """The objective: good answers, and the reward for each that is withheld."""
    return sum(
        (o.path.probability * (o.path.reward if o.ended_at is None else reward) for o in outcomes),
        Fraction(0),
    )


@given(TREES)
def test_the_value_is_a_martingale(root: Node) -> None:
    """In every state it is the average of the values after the next token."""
    for state in states(root):
        assert state.value == sum(p * child.value for p, child in state.children)


@given(TREES, THRESHOLDS, FIRST_JUDGED)
def test_it_is_never_worse_than_never_abstaining(
    root: Node, reward: Fraction, first_judged: int
) -> None:
    """The gain is ``E[(reward - V) 1{ended}]``, and positive exactly if anything is ended."""
    outcomes = list(dynamic(root, reward, first_judged))
    ended = [o for o in outcomes if o.ended_at is not None]

    gain = worth(iter(outcomes), reward) - root.value

    assert gain == sum(o.path.probability * (reward - o.value) for o in ended)
    assert (gain > 0) == bool(ended)


@given(TREES, THRESHOLDS)
def test_it_is_never_worse_than_deciding_on_the_prompt(root: Node, reward: Fraction) -> None:
    """If the prompt is below the reward both abstain, else only the dynamic rule may gain."""
    own = worth(dynamic(root, reward), reward)
    prompt_only = worth(fixed(root, reward, at=0), reward)

    assert own >= prompt_only
    assert own == prompt_only or root.value >= reward


@given(TREES, THRESHOLDS, FIRST_JUDGED)
def test_it_is_never_worse_than_always_abstaining(
    root: Node, reward: Fraction, first_judged: int
) -> None:
    """It is worth at least the larger of the reward and of the prompt's value.

    If the prompt is not judged, a response of one token is not either, and may be bad.
    """
    assume(first_judged == 0 or all(child.children for _, child in root.children))

    assert worth(dynamic(root, reward, first_judged), reward) >= max(root.value, reward)


@given(TREES, THRESHOLDS, FIRST_JUDGED)
def test_few_of_the_withheld_would_have_been_good(
    root: Node, reward: Fraction, first_judged: int
) -> None:
    """P(good | ended) is the mean value where they were ended, and below the reward."""
    ended = [o for o in dynamic(root, reward, first_judged) if o.ended_at is not None]
    mass = sum((o.path.probability for o in ended), Fraction(0))
    good = sum((o.path.probability * o.path.reward for o in ended), Fraction(0))

    assert good == sum(o.path.probability * o.value for o in ended)
    assert good < reward * mass or not ended


@given(TREES, THRESHOLDS)
def test_few_are_ended(root: Node, reward: Fraction) -> None:
    """P(ended) is at most ``(1 - V) / (1 - reward)``."""
    ended = sum(
        (o.path.probability for o in dynamic(root, reward) if o.ended_at is not None), Fraction(0)
    )

    assert ended * (1 - reward) <= 1 - root.value


def test_a_look_after_a_fixed_number_of_tokens_may_be_worth_more() -> None:
    """Ending early gives up what waiting would have shown; what it buys is tokens.

    So dominance over a fixed position is no theorem.
    """
    knows = node((8, node((8, GOOD))))
    fails = node((8, node((8, BAD))))
    doubtful = node((3, knows), (5, fails))
    root = node((4, doubtful), (4, knows))

    reward = Fraction(1, 2)
    early, late = list(dynamic(root, reward)), list(fixed(root, reward, at=2))

    assert root.value > reward > doubtful.value
    assert worth(iter(early), reward) < worth(iter(late), reward)
    assert _tokens(early) < _tokens(late)


def _tokens(outcomes: list[Outcome]) -> Fraction:
    lengths = (
        (o.path.probability, len(o.path.nodes) - 1 if o.ended_at is None else o.ended_at)
        for o in outcomes
    )
    return sum((probability * length for probability, length in lengths), Fraction(0))
