"""Needs that the head of a definition settles: is it there, what is it, how is it called."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from value_steer.contracts.syntax import FUNCTIONS, decorators, own, signature

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.syntax import Function, Signature

_PROPERTIES = frozenset({"property", "cached_property"})
_MANAGERS = frozenset({"contextmanager", "asynccontextmanager"})
_ON_CLASS = frozenset({"classmethod", "staticmethod"})


class Need(Protocol):
    """One demand on a symbol that was found."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """The problem, as "needs ...; found ...", or ``None`` if the demand is met.

        Raises:
            ContractError: A file that would decide it is not there or cannot be parsed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exists:
    """The name is defined; what it is does not matter."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Nothing: a symbol that was found exists."""
        return None


@dataclass(frozen=True, slots=True)
class IsClass:
    """The name is a class.

    Attributes:
        bases: Names that must be among its direct or inherited bases.
    """

    bases: tuple[str, ...] = ()

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say which kind of definition or which bases were found instead."""
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        found: set[str] = set()
        for ancestor in sources.lineage(first):
            found |= ancestor.stated_bases()
            if found.issuperset(self.bases):
                return None
        return f"needs the bases {_listed(self.bases)}; found {_listed(found)}"


@dataclass(frozen=True, slots=True)
class Parameters:
    """A function that takes these arguments, by position in this order or by name.

    Further optional parameters may follow; a further required one is a problem.

    Attributes:
        names: The parameters, without the receiver of a method.
        on_class: The method is called on the class itself.
        awaited: What it returns is awaited.
    """

    names: tuple[str, ...] = ()
    on_class: bool = False
    awaited: bool = False

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which signature was found instead."""
        node = _function(symbol, "awaited" if self.awaited else "called")
        if isinstance(node, str):
            return node
        if self.on_class and not decorators(node) & _ON_CLASS:
            return "needs a method that is called on the class; found one of its instances"
        found = signature(node, in_class=symbol.owner is not None)
        if self._accepts(found):
            return None
        return f"needs ({', '.join(self.names)}); found {found}"

    def _accepts(self, found: Signature) -> bool:
        leading = tuple(p.name for p in found.positional[: len(self.names)])
        rest = [*found.positional[len(self.names) :], *found.keyword_only]
        return leading == self.names and not any(p.required for p in rest)


@dataclass(frozen=True, slots=True)
class Accepts:
    """A function that takes these arguments by name, wherever they stand among others.

    Attributes:
        names: The parameters.
        awaited: What it returns is awaited.
    """

    names: tuple[str, ...]
    awaited: bool = False

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which parameters it does not name."""
        node = _function(symbol, "awaited" if self.awaited else "called")
        if isinstance(node, str):
            return node
        by_position = {argument.arg for argument in node.args.posonlyargs}
        found = signature(node, in_class=symbol.owner is not None)
        taken = {p.name for p in (*found.positional, *found.keyword_only)} - by_position
        missing = [name for name in self.names if name not in taken]
        return f"needs the arguments {', '.join(missing)}; found {found}" if missing else None


@dataclass(frozen=True, slots=True)
class DefinedBy:
    """A member that one of these classes defines, whichever class has inherited it.

    Attributes:
        owners: The file and the name of each.
    """

    owners: tuple[tuple[str, str], ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which class defines it instead."""
        found = (symbol.module.path, symbol.owner.name if symbol.owner else "no class")
        if found in self.owners:
            return None
        wanted = " or ".join(f"{name} of {path}" for path, name in self.owners)
        return f"needs it defined by {wanted}; found {found[1]} of {found[0]}"


@dataclass(frozen=True, slots=True)
class Property:
    """A member that is read without a call."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say which kind of member was found instead."""
        node = symbol.node
        if isinstance(node, FUNCTIONS) and decorators(node) & _PROPERTIES:
            return None
        return f"needs a property; found {kind(symbol)}"


def _function(symbol: Symbol, wanted: str) -> Function | str:
    """The function that a symbol is and how it is run, or what is wrong with it."""
    node = symbol.node
    if not isinstance(node, FUNCTIONS) or decorators(node) & _PROPERTIES:
        return f"needs a function; found {kind(symbol)}"
    if (how := _called(node)) != wanted:
        return f"needs a function that is {wanted}; found one that is {how}"
    return node


def _called(function: Function) -> str:
    """How a function has to be run: a call alone makes a coroutine or a generator."""
    if isinstance(function, ast.AsyncFunctionDef):
        return "awaited"
    if decorators(function) & _MANAGERS:
        return "entered"
    return "iterated over" if any(map(_yields, own(function.body))) else "called"


def _yields(node: ast.AST) -> bool:
    return isinstance(node, ast.Yield | ast.YieldFrom)


def kind(symbol: Symbol) -> str:
    """A short description of what defines a symbol."""
    node = symbol.node
    if isinstance(node, ast.ClassDef):
        return "a class"
    if isinstance(node, FUNCTIONS):
        if decorators(node) & _PROPERTIES:
            return "a property"
        return f"the function {signature(node, in_class=symbol.owner is not None)}"
    return "a variable"


def _listed(names: tuple[str, ...] | set[str]) -> str:
    return ", ".join(names if isinstance(names, tuple) else sorted(names)) or "none"
