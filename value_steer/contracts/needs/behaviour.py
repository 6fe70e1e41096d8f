"""Needs on what the body of a function does: its calls, what it compares and says."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import FUNCTIONS, dotted, is_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from value_steer.contracts.lookup import Sources, Symbol


@dataclass(frozen=True, slots=True)
class Calls:
    """The function, or the class, calls something, and each time with at least these arguments.

    Attributes:
        receiver: What is called, as it is written there: ``self.sampler``.
        positional: How many arguments are given by position, at least.
        keywords: Arguments that are given by name.
    """

    receiver: str
    positional: int = 0
    keywords: tuple[str, ...] = ()

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which call does not have the shape, or that there is none."""
        if not isinstance(symbol.node, (*FUNCTIONS, ast.ClassDef)):
            return f"needs a function or a class; found {kind(symbol)}"
        calls = list(calls_of(symbol.node, self.receiver))
        if not calls:
            return f"needs a call {self._shape()}; found none"
        wrong = next((call for call in calls if not self._fits(call)), None)
        if wrong is None:
            return None
        return f"needs the call {self._shape()}; found {ast.unparse(wrong)}"

    def _fits(self, call: ast.Call) -> bool:
        given = [argument for argument in call.args if not isinstance(argument, ast.Starred)]
        names = {keyword.arg for keyword in call.keywords}
        return len(given) >= self.positional and names >= set(self.keywords)

    def _shape(self) -> str:
        arguments = ["…"] * self.positional + [f"{name}=…" for name in self.keywords]
        return f"{self.receiver}({', '.join(arguments)})"


@dataclass(frozen=True, slots=True)
class Compares:
    """The function bases a decision on comparing something.

    Attributes:
        operand: A dotted name that is part of a comparison: ``sampling_params.min_tokens``; it may
            be the tail of a longer one.
    """

    operand: str

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say that nothing of the kind is compared."""
        if not isinstance(symbol.node, FUNCTIONS):
            return f"needs a function; found {kind(symbol)}"
        if any(self._is_operand(name) for name in _compared(symbol.node)):
            return None
        return f"needs a comparison with {self.operand}; found none"

    def _is_operand(self, name: str) -> bool:
        return f".{name}".endswith(f".{self.operand}")


@dataclass(frozen=True, slots=True)
class Contains:
    """The function contains a piece of code, in one of the ways in which releases write it.

    Attributes:
        code: Expressions or statements, layout aside.
    """

    code: tuple[str, ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say that it is not there."""
        if not isinstance(symbol.node, FUNCTIONS):
            return f"needs a function; found {kind(symbol)}"
        if any(True for _ in occurrences(symbol.node, self.code)):
            return None
        return f"needs the code {' or '.join(self.code)}; found none"


def occurrences(function: ast.AST, code: Iterable[str]) -> Iterator[ast.AST]:
    """The parts of a function's body that mean one of some pieces of code."""
    wanted = [_parsed(one) for one in code]
    kinds = {type(one) for one in wanted}
    for node in ast.walk(function):
        if type(node) in kinds and any(_alike(one, node) for one in wanted):
            yield node


def calls_of(function: ast.AST, receiver: str) -> Iterator[ast.Call]:
    """The calls in a function's body of what is written as ``receiver``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and dotted(node.func) == receiver:
            yield node


def _compared(function: ast.AST) -> Iterator[str]:
    """The dotted names inside the operands of comparisons, but for those with ``None``.

    Whether something is set, and how long it is, says nothing of its value.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and not any(map(is_none, node.comparators)):
            for part in _values(node):
                if name := dotted(part):
                    yield name


def _values(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what only its length is asked of."""
    if isinstance(node, ast.Call) and dotted(node.func) == "len":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _values(child)


def _parsed(code: str) -> ast.AST:
    statement = ast.parse(code).body[0]
    return statement.value if isinstance(statement, ast.Expr) else statement


def _alike(one: object, other: object) -> bool:
    """Whether two trees are the same, but for what is read in one and assigned in the other."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST):
        return all(
            _alike(getattr(one, name, None), getattr(other, name, None))
            for name in one._fields
            if name != "ctx"
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other
