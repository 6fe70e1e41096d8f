"""The need that a function makes one call before another."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import FUNCTIONS, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from value_steer.contracts.lookup import Sources, Symbol

# Code in one of these runs when it is called, which is not where it stands.
_LATER = (*FUNCTIONS, ast.Lambda)
# Of the blocks of one of these, one runs.
_BRANCHES: Mapping[type[ast.AST], tuple[str, ...]] = {
    ast.If: ("body", "orelse"),
    ast.IfExp: ("body", "orelse"),
    ast.Match: ("cases",),
}

_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)

_Way: TypeAlias = dict[ast.AST, str]


class _Call(NamedTuple):
    """A call, and the way to it.

    Attributes:
        end: Line and column where it ends: the call that makes an argument ends, and is made,
            before the one it is given to.
        way: The branches that it is in, with the block of each.
    """

    end: tuple[int, int]
    way: _Way


@dataclass(frozen=True, slots=True)
class Order:
    """The function makes two calls, every one to ``first`` before any one to ``second``.

    If both are in a loop, it says so of each round.

    Attributes:
        first: What is called earlier, as it is written there.
        second: What is called later.
    """

    first: str
    second: str

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which call is missing, early, or made without the other."""
        if not isinstance(symbol.node, FUNCTIONS):
            return f"needs a function; found {kind(symbol)}"
        firsts = list(_calls(symbol.node, self.first, {}))
        seconds = list(_calls(symbol.node, self.second, {}))
        wanted = f"needs {self.first}() before {self.second}()"
        missing = [name for name, at in ((self.first, firsts), (self.second, seconds)) if not at]
        if missing:
            return f"{wanted}; found no {missing[0]}()"
        if max(one.end for one in firsts) > min(other.end for other in seconds):
            return f"{wanted}; found the reverse"
        if any(all(_is_apart(one, other) for one in firsts) for other in seconds):
            return f"{wanted}; found {self.second}() in another branch"
        return None


def _is_apart(one: _Call, other: _Call) -> bool:
    """Whether the other call is not made on the way of the one."""
    return any(
        other.way[node] != block if node in other.way else _leaves(node, block)
        for node, block in one.way.items()
    )


def _leaves(node: ast.AST, block: str) -> bool:
    """Whether what stands after a branch is not run once one of its blocks was."""
    name, _, at = block.partition(" ")
    inside = getattr(node, name)
    inside = inside[int(at)].body if at else inside
    return isinstance(inside, list) and isinstance(inside[-1], _LEAVING)


def _calls(node: ast.AST, receiver: str, way: _Way) -> Iterator[_Call]:
    """The calls of ``receiver`` in what a node runs itself."""
    if isinstance(node, ast.Call) and dotted(node.func) == receiver:
        yield _Call((node.end_lineno or 0, node.end_col_offset or 0), way)
    for name, value in ast.iter_fields(node):
        for at, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, _LATER):
                continue
            inside = _BRANCHES.get(type(node), ())
            block = f"{name} {at}" if name == "cases" else name
            yield from _calls(child, receiver, {**way, node: block} if name in inside else way)
