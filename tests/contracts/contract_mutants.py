"""Miniature trees in which exactly one need of one row is broken."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import TYPE_CHECKING, TypeAlias

from tests.contracts import contract_edits as edits
from tests.contracts.contract_miniature import MINIATURE
from value_steer.contracts.lookup import Sources, SymbolMissingError
from value_steer.contracts.needs import (
    Accepts,
    AssignedFrom,
    Assigns,
    Calls,
    Compares,
    Constructible,
    Contains,
    DefinedBy,
    Exists,
    Extensible,
    Fields,
    Implementable,
    IsClass,
    Order,
    Parameters,
    Property,
)
from value_steer.contracts.report import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contracts.contract_trees import MemoryTree
    from value_steer.contracts.lookup import Symbol
    from value_steer.contracts.needs import Need
    from value_steer.contracts.surface import Surface

    Edit: TypeAlias = Callable[[Symbol], None]


@dataclass(frozen=True)
class Mutant:
    """One broken tree and how the row's finding must look."""

    surface: Surface
    label: str
    tree: MemoryTree
    expected: Status

    @property
    def id(self) -> str:
        """A name for the test report."""
        return f"{self.surface.id}: {self.label}"


def edited(surface: Surface, edit: Edit, tree: MemoryTree = MINIATURE) -> MemoryTree:
    """A tree after ``edit`` changed the definition that the row is about."""
    symbol = Sources(tree).find(surface.path, surface.symbol)
    edit(symbol)
    return tree.having(symbol.module.path, ast.unparse(symbol.module.tree))


def mutants(surface: Surface) -> Iterator[Mutant]:
    """Every way in which the row is broken: its file, its name, its need."""
    path = surface.path
    text = MINIATURE.files[path]
    commented = "".join(f"# {line}\n" for line in text.splitlines())
    for label, tree, expected in (
        ("the file is renamed", MINIATURE.lacking(path), Status.MISSING_FILE),
        ("the file is a comment", MINIATURE.having(path, commented), Status.MISSING_SYMBOL),
        ("the file is a string", MINIATURE.having(path, repr(text)), Status.MISSING_SYMBOL),
        ("the file is not Python", MINIATURE.having(path, "def ("), Status.UNREADABLE),
        ("the symbol is renamed", _renamed(surface), Status.MISSING_SYMBOL),
    ):
        yield Mutant(surface, label, tree, expected)
    for label, edit in breakages(surface.need):
        yield Mutant(surface, label, edited(surface, edit), Status.BROKEN)


def _renamed(surface: Surface, tree: MemoryTree = MINIATURE) -> MemoryTree:
    """The miniature without the name, in the class itself and in those it may come from."""
    with suppress(SymbolMissingError):
        return _renamed(surface, edited(surface, edits.rename, tree))
    return tree


@singledispatch
def breakages(need: Need) -> Iterator[tuple[str, Edit]]:
    """Edits of the symbol, each of which breaks ``need``."""
    msg = f"no breakage is written for {type(need).__name__}"
    raise NotImplementedError(msg)


@breakages.register(Exists)
def _(need: Exists) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    yield from ()


@breakages.register(IsClass)
def _(need: IsClass) -> Iterator[tuple[str, Edit]]:
    yield "it is a variable", edits.to_variable
    for base in need.bases:
        yield f"the base {base} is dropped", partial(edits.drop_base, name=base)


@breakages.register(Parameters)
def _(need: Parameters) -> Iterator[tuple[str, Edit]]:
    yield "it is a property", partial(edits.decorate, decorator="property")
    yield "it is awaited, or no longer", edits.toggle_awaiting
    yield "it demands a further argument", edits.demand
    for name in need.names:
        yield f"{name} is renamed", partial(edits.rename_parameter, name=name)
    if len(need.names) > 1:
        yield "the first two are swapped", partial(edits.swap, names=need.names)
    if need.on_class:
        yield "it is a method of the instance", edits.decorate


@breakages.register(Accepts)
def _(need: Accepts) -> Iterator[tuple[str, Edit]]:
    yield "it is a property", partial(edits.decorate, decorator="property")
    yield "it is awaited, or no longer", edits.toggle_awaiting
    for name in need.names:
        yield f"{name} is renamed", partial(edits.rename_parameter, name=name)


@breakages.register(DefinedBy)
def _(need: DefinedBy) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    yield "another class defines it", edits.inherit


@breakages.register(Property)
def _(need: Property) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    yield "it is a method", edits.decorate
    yield "it is a variable", edits.to_variable


@breakages.register(Fields)
def _(need: Fields) -> Iterator[tuple[str, Edit]]:
    for name in need.names:
        yield f"{name} is dropped", partial(edits.drop_field, name=name)
    if need.writable:
        yield "it is frozen", partial(edits.decorate, decorator="dataclass(frozen=True)")


@breakages.register(Constructible)
def _(need: Constructible) -> Iterator[tuple[str, Edit]]:
    yield "it demands a further field", edits.demand_field
    yield "it is a plain class", edits.decorate
    for name in need.fields:
        yield f"{name} is dropped", partial(edits.drop_field, name=name)


@breakages.register(Assigns)
def _(need: Assigns) -> Iterator[tuple[str, Edit]]:
    for name in need.names:
        yield f"self.{name} is renamed", partial(edits.rename_attribute, name=name)
        yield f"self.{name} is None", partial(edits.assign, name=name, value=None)


@breakages.register(AssignedFrom)
def _(need: AssignedFrom) -> Iterator[tuple[str, Edit]]:
    yield "it is not assigned", partial(edits.rename_attribute, name=need.name)
    yield "it is from elsewhere", partial(edits.assign, name=need.name, value="other.place")


@breakages.register(Calls)
def _(need: Calls) -> Iterator[tuple[str, Edit]]:
    yield "the call is a string", partial(edits.quote_calls, receiver=need.receiver)
    for name in need.keywords:
        yield f"{name} is not given", partial(edits.drop_keyword, need=need, name=name)
    if need.positional:
        yield "an argument is not given", partial(edits.drop_argument, need=need)


@breakages.register(Order)
def _(need: Order) -> Iterator[tuple[str, Edit]]:
    yield "the calls are swapped", partial(edits.swap_calls, need=need)
    for receiver in (need.first, need.second):
        yield f"{receiver} is a string", partial(edits.quote_calls, receiver=receiver)


@breakages.register(Compares)
def _(need: Compares) -> Iterator[tuple[str, Edit]]:
    yield "it is read and not compared", partial(edits.do_not_compare, operand=need.operand)


@breakages.register(Contains)
def _(need: Contains) -> Iterator[tuple[str, Edit]]:
    yield "the code is a string", partial(edits.quote_code, need=need)


@breakages.register(Extensible)
def _(need: Extensible) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    yield "it is a variable", edits.to_variable
    yield "it has slots", partial(edits.decorate, decorator="dataclass(slots=True)")
    yield "it states its slots", partial(edits.begin_with, text="__slots__ = ('declared',)")


@breakages.register(Implementable)
def _(need: Implementable) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    further = "@abstractmethod\ndef further(self): ..."
    yield "it is a variable", edits.to_variable
    yield "a further method is abstract", partial(edits.begin_with, text=further)
