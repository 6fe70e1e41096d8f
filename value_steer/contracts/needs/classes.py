"""Needs on what can be done with a class: put a further attribute on it, derive from it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.lookup import members_of, stated_bases
from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import FUNCTIONS, decorators, last_name

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.syntax import Definition

_CLOSED_BASES = frozenset({"NamedTuple", "Struct"})
_CLOSED_BY = frozenset({"slots", "frozen"})


@dataclass(frozen=True, slots=True)
class Extensible:
    """Instances of the class take an attribute that it does not declare."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:  # noqa: ARG002
        """Say what forbids it."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class; found {kind(symbol)}"
        closed = _closed_by(symbol)
        return f"needs instances that take an attribute; found {closed}" if closed else None


@dataclass(frozen=True, slots=True)
class Implementable:
    """A class that can be derived from by defining these methods and no further one.

    Attributes:
        methods: What is defined.
    """

    methods: tuple[str, ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say which further methods are abstract."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class; found {kind(symbol)}"
        members: dict[str, Definition] = {}
        for ancestor in reversed(list(sources.lineage(symbol))):
            members |= members_of(ancestor.node)
        further = [
            name
            for name, member in members.items()
            if isinstance(member, FUNCTIONS)
            and "abstractmethod" in decorators(member)
            and name not in self.methods
        ]
        if not further:
            return None
        return f"needs {', '.join(self.methods)} to be all; found {', '.join(further)} as well"


def _closed_by(symbol: Symbol) -> str | None:
    """What keeps an attribute from being put on the instances of a class that was found."""
    node = symbol.node
    if bases := stated_bases(symbol) & _CLOSED_BASES:
        return f"a {', '.join(sorted(bases))}"
    if "__slots__" in members_of(node):
        return "__slots__"
    makers = node.decorator_list if isinstance(node, ast.ClassDef) else []
    for maker in makers:
        if isinstance(maker, ast.Call) and last_name(maker) == "dataclass":
            for keyword in maker.keywords:
                if keyword.arg in _CLOSED_BY and ast.unparse(keyword.value) == "True":
                    return f"{keyword.arg}=True"
    return None
