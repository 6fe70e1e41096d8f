"""The parsed view of one file, and the names that it offers."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.sources.bounded import LARGEST_SOURCE
from value_steer.contracts.sources.tree import PACKAGE
from value_steer.contracts.syntax import Import, bindings, is_bare, statements
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.contracts.syntax import Binding


class FileUnreadableError(ContractError):
    """The file is there and is not Python that this interpreter can parse."""


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file.

    Attributes:
        path: Of the file.
        tree: What is in it.
        names: What it offers.
        instead: What a name is where the import that would bind it fails.
    """

    path: str
    tree: ast.Module
    names: Mapping[str, Binding]
    instead: Mapping[str, Binding]


def parse(path: str, text: str) -> Module:
    """The module in the text of a file.

    Raises:
        FileUnreadableError: The text is not Python that this interpreter can parse.
    """
    if len(text) > LARGEST_SOURCE:
        msg = f"{path} cannot be parsed: it has more than {LARGEST_SOURCE:,} characters"
        raise FileUnreadableError(msg)
    # The style of somebody else's string literals is not ours to warn about.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            tree = ast.parse(text, filename=path)
        # Depth is a RecursionError of the one half of the parser, a MemoryError of the other.
        except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
            msg = f"{path} cannot be parsed: {str(err) or 'nested too deeply'}"
            raise FileUnreadableError(msg) from err
    return Module(path, tree, *_names(tree))


def _names(tree: ast.Module) -> tuple[dict[str, Binding], dict[str, Binding]]:
    """The names of a module, bound or declared and made on demand; and those bound before."""
    bound: dict[str, Binding] = {}
    before: dict[str, Binding] = {}
    declared: dict[str, Binding] = {}
    for statement, typing in statements(tree.body):
        for name, binding in bindings(statement):
            if name in bound:
                before[name] = bound[name]
            (declared if typing or is_bare(binding) else bound)[name] = binding
    if "__getattr__" not in bound:
        return bound, before
    # PEP 562: such a module provides what it declares to type checkers, if it knows the name.
    known = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {name: what for name, what in declared.items() if name in known} | bound, before


def absolute(path: str, origin: Import) -> str:
    """The dotted module that an import in the file at ``path`` is from."""
    if not origin.level:
        return origin.module
    package = path.split("/")[:-1]
    parts = package[: len(package) - origin.level + 1]
    return ".".join([*parts, origin.module] if origin.module else parts)


def is_foreign(path: str, binding: Binding) -> bool:
    """Whether a name comes from another package."""
    return isinstance(binding, Import) and absolute(path, binding).split(".")[0] != PACKAGE
