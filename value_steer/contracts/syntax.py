"""Small questions about Python syntax trees; nothing here knows vLLM."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef | ast.Assign | ast.AnnAssign
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_HIDDEN_BY = frozenset({"overload", "setter", "deleter"})


@dataclass(frozen=True, slots=True)
class Import:
    """A name that a module takes from another one.

    Attributes:
        module: Dotted module, relative if ``level`` is above 0.
        name: The name there; ``None`` for the module itself.
        level: Leading dots of a relative import.
    """

    module: str
    name: str | None
    level: int


Binding: TypeAlias = Definition | Import


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function can be called; the receiver of a method is left out."""

    positional: tuple[Parameter, ...]
    keyword_only: tuple[Parameter, ...]
    var_positional: str | None
    var_keyword: str | None

    def __str__(self) -> str:
        star = [f"*{self.var_positional or ''}"] if self.var_positional or self.keyword_only else []
        shown = [
            *map(_shown, self.positional),
            *star,
            *map(_shown, self.keyword_only),
            *([f"**{self.var_keyword}"] if self.var_keyword else []),
        ]
        return f"({', '.join(shown)})"


def dotted(node: ast.AST) -> str | None:
    """``"a.b.c"`` for a chain of attributes on a name, else ``None``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    return None


def last_name(node: ast.expr) -> str | None:
    """The name that a base class or decorator ends in, its arguments left out."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    name = dotted(node)
    return None if name is None else name.rpartition(".")[2]


def decorators(node: Function | ast.ClassDef) -> frozenset[str]:
    """The last names of the decorators."""
    return frozenset(filter(None, map(last_name, node.decorator_list)))


def signature(function: Function, *, in_class: bool) -> Signature:
    """The parameters of a function; ``in_class`` takes the receiver of a method off."""
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args]
    optional = len(arguments.defaults)
    positional = [Parameter(a.arg, i < len(names) - optional) for i, a in enumerate(names)]
    if in_class and "staticmethod" not in decorators(function):
        positional = positional[1:]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return Signature(
        positional=tuple(positional),
        keyword_only=tuple(Parameter(a.arg, default is None) for a, default in pairs),
        var_positional=arguments.vararg.arg if arguments.vararg else None,
        var_keyword=arguments.kwarg.arg if arguments.kwarg else None,
    )


def is_stub(node: Definition) -> bool:
    """Whether a function does nothing but raise ``NotImplementedError``."""
    *described, last = node.body if isinstance(node, FUNCTIONS) else [node]
    return (
        isinstance(last, ast.Raise)
        and last.exc is not None
        and last_name(last.exc) == "NotImplementedError"
        and all(_is_docstring(statement) for statement in described)
    )


def is_none(node: ast.expr) -> bool:
    """Whether it is written as ``None``."""
    return isinstance(node, ast.Constant) and node.value is None


def is_bare(node: Binding) -> bool:
    """Whether it is an annotation without a value."""
    return isinstance(node, ast.AnnAssign) and node.value is None


def statements(
    body: Iterable[ast.stmt], *, typing: bool = False
) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements of one scope, branches included, and whether only type checkers see them.

    What is tried comes after what replaces it when it fails, since of two definitions the last
    one counts.
    """
    for statement in body:
        if isinstance(statement, ast.If) and (only := _typing_only(statement.test)) is not None:
            yield from statements(statement.body, typing=typing or only)
            yield from statements(statement.orelse, typing=typing or not only)
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            for block in _blocks(statement):
                yield from statements(block, typing=typing)
        else:
            yield statement, typing


def own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All that a body runs itself, functions and classes in it left out."""
    for node in body:
        if not isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield node
            yield from own(ast.iter_child_nodes(node))


def nested(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Some statements and all below them, whatever the block; no expression is looked into."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from nested(getattr(statement, name, ()))
        for name in ("handlers", "cases"):
            for block in getattr(statement, name, ()):
                yield from nested(block.body)


def bindings(statement: ast.stmt) -> Iterator[tuple[str, Binding]]:
    """The names that a statement binds in its scope."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if not decorators(statement) & _HIDDEN_BY:
            yield statement.name, statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement
    elif isinstance(statement, ast.AnnAssign):
        if isinstance(statement.target, ast.Name):
            yield statement.target.id, statement
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from _imports(statement)


def _imports(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            origin = Import(statement.module or "", alias.name, statement.level)
            yield alias.asname or alias.name, origin
        else:
            # ``import a.b`` binds a, ``import a.b as c`` the module a.b.
            head = alias.name.partition(".")[0]
            yield alias.asname or head, Import(alias.name if alias.asname else head, None, 0)


def _typing_only(test: ast.expr) -> bool | None:
    """Whether only type checkers pass a test, or all but them; ``None`` for any other test."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _typing_only(test.operand)
        return None if inner is None else not inner
    return True if last_name(test) == "TYPE_CHECKING" else None


def _blocks(statement: ast.If | ast.Try | ast.With) -> Iterator[list[ast.stmt]]:
    if isinstance(statement, ast.Try):
        for handler in statement.handlers:
            yield handler.body
    yield statement.body
    if not isinstance(statement, ast.With):
        yield statement.orelse
    if isinstance(statement, ast.Try):
        yield statement.finalbody


def _is_docstring(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _shown(parameter: Parameter) -> str:
    return parameter.name if parameter.required else f"{parameter.name}=…"
