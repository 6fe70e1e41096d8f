"""Needs on what can be done with a class: put a further attribute on it, derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import FUNCTIONS, decorators

if TYPE_CHECKING:
    from value_steer.contracts.classes import Class
    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.syntax import Definition

_CLOSED_BY = ("slots", "frozen")
_CLOSED_BASES = frozenset({"NamedTuple", "TypedDict", "BaseModel"})
# Of these it is known what they do; any other one may make a class that takes no attribute.
_OPEN_MAKERS = frozenset({"dataclass", "config", "final", "runtime_checkable"})


@dataclass(frozen=True, slots=True)
class Extensible:
    """Instances of the class take an attribute that it does not declare."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say what forbids it."""
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        closed = _closed_by(first, sources)
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
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        members: dict[str, Definition] = {}
        for ancestor in reversed(list(sources.lineage(first))):
            members |= ancestor.members()
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


def _closed_by(first: Class, sources: Sources) -> str | None:
    """The reason why no attribute can be put on the instances of a class."""
    if closed := first.stated_bases() & _CLOSED_BASES:
        return f"a {min(closed)}"
    if unknown := decorators(first.node) - _OPEN_MAKERS:
        return f"a class made by {min(unknown)}"
    if first.hides_options():
        return "options that are not written out"
    if any("Struct" in ancestor.stated_bases() for ancestor in sources.lineage(first)):
        return "a Struct"
    if "__slots__" in first.members():
        return "__slots__"
    return next((f"{option}=True" for option in _CLOSED_BY if first.states(option)), None)
