"""Changes to one definition of a source tree, each of which breaks a need."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from value_steer.contracts.needs.behaviour import occurrences
from value_steer.contracts.syntax import dotted, last_name

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Symbol
    from value_steer.contracts.needs import Calls, Contains, Order


def rename(symbol: Symbol) -> None:
    """Call it something else."""
    node = symbol.node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        node.name += "_gone"
        return
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    assert isinstance(target, ast.Name)
    target.id += "_gone"


def inherit(symbol: Symbol) -> None:
    """Let its class have it from a new base class."""
    assert symbol.owner is not None
    name = symbol.owner.name
    symbol.owner.name = f"Base{name}"
    body = symbol.module.tree.body
    body.insert(body.index(symbol.owner) + 1, statement(f"class {name}(Base{name}): ..."))


def to_variable(symbol: Symbol) -> None:
    """Make a variable of it."""
    body = (symbol.owner or symbol.module.tree).body
    body[body.index(symbol.node)] = statement(f"{symbol.name} = 0")


def drop_base(symbol: Symbol, name: str) -> None:
    """Leave out a base class."""
    node = class_of(symbol)
    node.bases = [base for base in node.bases if last_name(base) != name]


def decorate(symbol: Symbol, decorator: str | None = None) -> None:
    """Replace all decorators by ``decorator``."""
    node = symbol.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    node.decorator_list = [expression(decorator)] if decorator else []


def toggle_awaiting(symbol: Symbol) -> None:
    """Make a coroutine function of it, or none."""
    node = function_of(symbol)
    other = ast.AsyncFunctionDef if isinstance(node, ast.FunctionDef) else ast.FunctionDef
    body = (symbol.owner or symbol.module.tree).body
    body[body.index(node)] = ast.copy_location(
        other(**{name: getattr(node, name) for name in node._fields if hasattr(node, name)}), node
    )


def demand(symbol: Symbol) -> None:
    """Let it demand a further argument."""
    arguments = function_of(symbol).args
    arguments.kwonlyargs.append(ast.arg("demanded"))
    arguments.kw_defaults.append(None)


def rename_parameter(symbol: Symbol, name: str) -> None:
    """Call an argument something else."""
    arguments = function_of(symbol).args
    for argument in (*arguments.args, *arguments.kwonlyargs):
        argument.arg += "_gone" if argument.arg == name else ""


def swap(symbol: Symbol, names: tuple[str, ...]) -> None:
    """Exchange the first two arguments."""
    turned = {names[0]: names[1], names[1]: names[0]}
    for argument in function_of(symbol).args.args:
        argument.arg = turned.get(argument.arg, argument.arg)


def drop_field(symbol: Symbol, name: str) -> None:
    """Turn a field into a string that holds its text."""
    node = class_of(symbol)
    for i, member in enumerate(node.body):
        if isinstance(member, ast.AnnAssign) and dotted(member.target) == name:
            node.body[i] = statement(repr(ast.unparse(member)))


def demand_field(symbol: Symbol) -> None:
    """Let it demand a further field."""
    begin_with(symbol, "demanded: int")


def begin_with(symbol: Symbol, text: str) -> None:
    """Put a statement at the top of a class."""
    class_of(symbol).body.insert(0, statement(text))


def rename_attribute(symbol: Symbol, name: str) -> None:
    """Call an attribute something else."""
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Attribute) and node.attr == name:
            node.attr += "_gone"


def assign(symbol: Symbol, name: str, value: str | None) -> None:
    """Assign another value to an attribute."""
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) == f"self.{name}":
            node.value = expression(value or "None")
        if isinstance(node, ast.AnnAssign) and dotted(node.target) == f"self.{name}":
            node.value = None


def drop_keyword(symbol: Symbol, need: Calls, name: str) -> None:
    """Leave out an argument that is given by name."""
    for call in calls(symbol, need.receiver):
        call.keywords = [keyword for keyword in call.keywords if keyword.arg != name]


def drop_argument(symbol: Symbol, need: Calls) -> None:
    """Leave out an argument that is given by position."""
    for call in calls(symbol, need.receiver):
        call.args = call.args[: need.positional - 1]


def swap_calls(symbol: Symbol, need: Order) -> None:
    """Exchange two calls."""
    turned = {need.first: need.second, need.second: need.first}
    for call in [*calls(symbol, need.first), *calls(symbol, need.second)]:
        call.func = expression(turned[ast.unparse(call.func)])


def quote_calls(symbol: Symbol, receiver: str) -> None:
    """Turn the calls into strings that hold their text."""
    for call in calls(symbol, receiver):
        text = ast.unparse(call)
        call.func, call.args, call.keywords = expression("str"), [ast.Constant(text)], []


def quote_code(symbol: Symbol, need: Contains) -> None:
    """Turn a piece of code into a string that holds its text."""
    for node in list(occurrences(symbol.node, need.code)):
        quoted = ast.Constant(ast.unparse(node))
        other = ast.Expr(quoted) if isinstance(node, ast.stmt) else quoted
        node.__class__ = type(other)
        vars(node).clear()
        vars(node).update(vars(other))


def do_not_compare(symbol: Symbol, operand: str) -> None:
    """Read the operand, and compare something else."""
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Compare) and operand in ast.unparse(node):
            vars(node).update(vars(expression("last is other")))
    function_of(symbol).body.insert(0, statement(f"log({operand})"))


def calls(symbol: Symbol, receiver: str) -> list[ast.Call]:
    """The calls of something."""
    nodes = list(ast.walk(symbol.node))
    return [n for n in nodes if isinstance(n, ast.Call) and dotted(n.func) == receiver]


def class_of(symbol: Symbol) -> ast.ClassDef:
    """The class that a symbol is."""
    assert isinstance(symbol.node, ast.ClassDef)
    return symbol.node


def function_of(symbol: Symbol) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The function that a symbol is."""
    assert isinstance(symbol.node, ast.FunctionDef | ast.AsyncFunctionDef)
    return symbol.node


def statement(text: str) -> ast.stmt:
    """A statement from its text."""
    return ast.parse(text).body[0]


def expression(text: str) -> ast.expr:
    """An expression from its text."""
    return ast.parse(text, mode="eval").body
