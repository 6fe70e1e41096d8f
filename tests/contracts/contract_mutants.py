"""Miniature trees in which exactly one need of one row is broken."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import TYPE_CHECKING, TypeAlias

from tests.contracts.contract_miniature import MINIATURE
from value_steer.contracts.lookup import Sources, SymbolMissingError
from value_steer.contracts.needs import (
    Accepts,
    AssignedFrom,
    Assigns,
    Calls,
    Compares,
    Constructible,
    Exists,
    Fields,
    IsClass,
    Order,
    Parameters,
    Property,
)
from value_steer.contracts.report import Status
from value_steer.contracts.syntax import dotted, last_name

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
        return _renamed(surface, edited(surface, _rename, tree))
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
    yield "it is a variable", _to_variable
    for base in need.bases:
        yield f"the base {base} is dropped", partial(_drop_base, name=base)


@breakages.register(Parameters)
def _(need: Parameters) -> Iterator[tuple[str, Edit]]:
    yield "it is a property", partial(_decorate, decorator="property")
    yield "it demands a further argument", _demand
    for name in need.names:
        yield f"{name} is renamed", partial(_rename_parameter, name=name)
    if len(need.names) > 1:
        yield "the first two are swapped", partial(_swap, names=need.names)
    if need.on_class:
        yield "it is a method of the instance", _decorate


@breakages.register(Accepts)
def _(need: Accepts) -> Iterator[tuple[str, Edit]]:
    yield "it is a property", partial(_decorate, decorator="property")
    for name in need.names:
        yield f"{name} is renamed", partial(_rename_parameter, name=name)


@breakages.register(Property)
def _(need: Property) -> Iterator[tuple[str, Edit]]:  # noqa: ARG001
    yield "it is a method", _decorate
    yield "it is a variable", _to_variable


@breakages.register(Fields)
def _(need: Fields) -> Iterator[tuple[str, Edit]]:
    for name in need.names:
        yield f"{name} is dropped", partial(_drop_field, name=name)
    if need.writable:
        yield "it is frozen", partial(_decorate, decorator="dataclass(frozen=True)")


@breakages.register(Constructible)
def _(need: Constructible) -> Iterator[tuple[str, Edit]]:
    yield "it demands a further field", _demand_field
    yield "it is a plain class", _decorate
    for name in need.fields:
        yield f"{name} is dropped", partial(_drop_field, name=name)


@breakages.register(Assigns)
def _(need: Assigns) -> Iterator[tuple[str, Edit]]:
    for name in need.names:
        yield f"self.{name} is renamed", partial(_rename_attribute, name=name)
        yield f"self.{name} is None", partial(_assign, name=name, value=None)


@breakages.register(AssignedFrom)
def _(need: AssignedFrom) -> Iterator[tuple[str, Edit]]:
    yield "it is not assigned", partial(_rename_attribute, name=need.name)
    yield "it is from elsewhere", partial(_assign, name=need.name, value="other.place")


@breakages.register(Calls)
def _(need: Calls) -> Iterator[tuple[str, Edit]]:
    yield "the call is a string", partial(_quote_calls, receiver=need.receiver)
    for name in need.keywords:
        yield f"{name} is not given", partial(_drop_keyword, need=need, name=name)
    if need.positional:
        yield "an argument is not given", partial(_drop_argument, need=need)


@breakages.register(Order)
def _(need: Order) -> Iterator[tuple[str, Edit]]:
    yield "the calls are swapped", partial(_swap_calls, need=need)
    for receiver in (need.first, need.second):
        yield f"{receiver} is a string", partial(_quote_calls, receiver=receiver)


@breakages.register(Compares)
def _(need: Compares) -> Iterator[tuple[str, Edit]]:
    yield "it is read and not compared", partial(_do_not_compare, operand=need.operand)


def _rename(symbol: Symbol) -> None:
    node = symbol.node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        node.name += "_gone"
        return
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    assert isinstance(target, ast.Name)
    target.id += "_gone"


def _to_variable(symbol: Symbol) -> None:
    body = (symbol.owner or symbol.module.tree).body
    body[body.index(symbol.node)] = _statement(f"{symbol.name} = 0")


def _drop_base(symbol: Symbol, name: str) -> None:
    node = _class(symbol)
    node.bases = [base for base in node.bases if last_name(base) != name]


def _decorate(symbol: Symbol, decorator: str | None = None) -> None:
    """Replace all decorators by ``decorator``."""
    node = symbol.node
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    node.decorator_list = [_expression(decorator)] if decorator else []


def _demand(symbol: Symbol) -> None:
    arguments = _function(symbol).args
    arguments.kwonlyargs.append(ast.arg("demanded"))
    arguments.kw_defaults.append(None)


def _rename_parameter(symbol: Symbol, name: str) -> None:
    for argument in _function(symbol).args.args:
        argument.arg += "_gone" if argument.arg == name else ""


def _swap(symbol: Symbol, names: tuple[str, ...]) -> None:
    turned = {names[0]: names[1], names[1]: names[0]}
    for argument in _function(symbol).args.args:
        argument.arg = turned.get(argument.arg, argument.arg)


def _drop_field(symbol: Symbol, name: str) -> None:
    node = _class(symbol)
    for i, member in enumerate(node.body):
        if isinstance(member, ast.AnnAssign) and dotted(member.target) == name:
            node.body[i] = _statement(repr(ast.unparse(member)))


def _demand_field(symbol: Symbol) -> None:
    _class(symbol).body.insert(0, _statement("demanded: int"))


def _rename_attribute(symbol: Symbol, name: str) -> None:
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Attribute) and node.attr == name:
            node.attr += "_gone"


def _assign(symbol: Symbol, name: str, value: str | None) -> None:
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) == f"self.{name}":
            node.value = _expression(value or "None")
        if isinstance(node, ast.AnnAssign) and dotted(node.target) == f"self.{name}":
            node.value = None


def _drop_keyword(symbol: Symbol, need: Calls, name: str) -> None:
    for call in _calls(symbol, need.receiver):
        call.keywords = [keyword for keyword in call.keywords if keyword.arg != name]


def _drop_argument(symbol: Symbol, need: Calls) -> None:
    for call in _calls(symbol, need.receiver):
        call.args = call.args[: need.positional - 1]


def _swap_calls(symbol: Symbol, need: Order) -> None:
    turned = {need.first: need.second, need.second: need.first}
    for call in [*_calls(symbol, need.first), *_calls(symbol, need.second)]:
        call.func = _expression(turned[ast.unparse(call.func)])


def _quote_calls(symbol: Symbol, receiver: str) -> None:
    """Turn the calls into strings that hold their text."""
    for call in _calls(symbol, receiver):
        text = ast.unparse(call)
        call.func, call.args, call.keywords = _expression("str"), [ast.Constant(text)], []


def _do_not_compare(symbol: Symbol, operand: str) -> None:
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Compare) and operand in ast.unparse(node):
            vars(node).update(vars(_expression("last is other")))
    _function(symbol).body.insert(0, _statement(f"log({operand})"))


def _calls(symbol: Symbol, receiver: str) -> list[ast.Call]:
    nodes = list(ast.walk(symbol.node))
    return [n for n in nodes if isinstance(n, ast.Call) and dotted(n.func) == receiver]


def _class(symbol: Symbol) -> ast.ClassDef:
    assert isinstance(symbol.node, ast.ClassDef)
    return symbol.node


def _function(symbol: Symbol) -> ast.FunctionDef:
    assert isinstance(symbol.node, ast.FunctionDef)
    return symbol.node


def _statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
