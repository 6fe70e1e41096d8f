"""Finite trees of responses, in exact rational numbers.

A node is a state; its children are the tokens that may follow, its leaves finished responses.
Probabilities are eighths, so that every value is exact as a float as well and the package's own
comparisons can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Children = tuple[tuple[Fraction, "Node"], ...]
    Policy = Callable[["Node"], Children]


@dataclass(frozen=True, eq=False)
class Node:
    """A state.

    Attributes:
        children: Each token's probability under the base policy, and the state after it.
        reward: Of a leaf: 1 is a good response.
    """

    children: Children = ()
    reward: Fraction = Fraction(0)

    @cached_property
    def value(self) -> Fraction:
        """P(good) under the base policy, by summing over all finished responses below."""
        return sum((path.probability * path.reward for path in paths(self)), Fraction(0))

    @property
    def p_undesirable(self) -> Fraction:
        """What value filtering compares."""
        return 1 - self.value


@dataclass(frozen=True)
class Path:
    """A finished response.

    Attributes:
        probability: Of it.
        nodes: Its states, from the prompt to the leaf.
    """

    probability: Fraction
    nodes: tuple[Node, ...]

    @property
    def reward(self) -> Fraction:
        """1 if it is good."""
        return self.nodes[-1].reward


def base(node: Node) -> Children:
    """The policy that is not steered."""
    return node.children


def paths(root: Node, policy: Policy = base) -> Iterator[Path]:
    """Every response that a policy gives with a positive probability."""
    if not root.children:
        yield Path(Fraction(1), (root,))
        return
    for probability, child in policy(root):
        for path in paths(child, policy):
            yield Path(probability * path.probability, (root, *path.nodes))


def states(root: Node) -> Iterator[Node]:
    """Every state in which a token is drawn."""
    if root.children:
        yield root
        for _, child in root.children:
            yield from states(child)


def expected(root: Node, policy: Policy = base) -> Fraction:
    """The probability that a policy gives a good response."""
    return sum((path.probability * path.reward for path in paths(root, policy)), Fraction(0))


def node(*children: tuple[int, Node]) -> Node:
    """A state, from the eighths of its children."""
    return Node(tuple((Fraction(eighths, 8), child) for eighths, child in children))


GOOD, BAD = Node(reward=Fraction(1)), Node()
_SPLITS = ((8,), (4, 4), (1, 7), (6, 2), (2, 2, 4), (5, 1, 2), (1, 1, 6))


def _parents(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    def joined(split: tuple[int, ...]) -> st.SearchStrategy[Node]:
        children = st.tuples(*[below] * len(split))
        return children.map(lambda nodes: node(*zip(split, nodes, strict=True)))

    return st.sampled_from(_SPLITS).flatmap(joined)


TREES = _parents(st.recursive(st.sampled_from([GOOD, BAD]), _parents, max_leaves=12))
"""Trees of any shape in which at least one token is drawn."""

THRESHOLDS = st.integers(1, 31).map(lambda number: Fraction(number, 32))
"""Between 0 and 1; many are values of states, so that ties occur."""
