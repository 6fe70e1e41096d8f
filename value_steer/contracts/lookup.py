"""Finding a definition in a source tree, through re-exports and base classes."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.sources.bounded import LARGEST_SOURCE
from value_steer.contracts.sources.tree import PACKAGE
from value_steer.contracts.syntax import Import, bindings, is_stub, last_name, statements
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from value_steer.contracts.sources.tree import SourceTree
    from value_steer.contracts.syntax import Binding, Definition


class FileMissingError(ContractError):
    """The tree has no such file, so nothing is known of what it would define."""


class SymbolMissingError(ContractError):
    """The file is there and does not define the name."""


class FileUnreadableError(ContractError):
    """The file is there and is not Python that this interpreter can parse."""


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file."""

    path: str
    tree: ast.Module
    names: Mapping[str, Binding]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition and where it was found.

    Attributes:
        name: Its own name, without the class.
        node: What defines it.
        module: The file that does.
        owner: The class it is a member of, which may be a base of the class asked for.
    """

    name: str
    node: Definition
    module: Module
    owner: ast.ClassDef | None = None


class Sources:
    """The parsed view of a source tree; a file is read when first asked for, and once.

    Args:
        tree: Where the text of a file is from.
        parser: What makes a module of it; another one may remember modules of other trees.
    """

    def __init__(
        self, tree: SourceTree, parser: Callable[[str, str], Module] | None = None
    ) -> None:
        self._tree = tree
        self._parse = parser or parse
        self._modules: dict[str, Module | None] = {}

    def find(self, path: str, symbol: str) -> Symbol:
        """Look ``symbol`` up in the file at ``path``.

        Args:
            path: A file such as ``vllm/v1/outputs.py``.
            symbol: A name of the module, or ``Class.member``; members may be inherited.

        Raises:
            FileMissingError: The file, or one that it takes the name from, is not there.
            SymbolMissingError: The files are there and do not define it.
            FileUnreadableError: One of them cannot be parsed.
        """
        head, *members = symbol.split(".")
        found = self._named(self.module(path), head, frozenset())
        for member in members:
            found = self._member(found, member)
        return found

    def lineage(self, symbol: Symbol) -> Iterator[Symbol]:
        """A class and its base classes inside the package, in the order of attribute lookup.

        Raises:
            FileMissingError: At the end, if a base could not be read for want of its file.
            SymbolMissingError: At the end, if a base is imported from where it is not defined.
        """
        pending = [symbol]
        seen: set[ast.ClassDef] = set()
        failures: list[ContractError] = []
        while pending:
            current = pending.pop(0)
            if not isinstance(current.node, ast.ClassDef) or current.node in seen:
                continue
            seen.add(current.node)
            yield current
            named = (self._base(current.module, b, failures) for b in current.node.bases)
            pending = [*(base for found in named for base in found), *pending]
        if failures:
            raise failures[0]

    def module(self, path: str) -> Module:
        """The parsed file at ``path``."""
        module = self._load(path)
        if module is None:
            msg = f"{path} is not in this tree"
            raise FileMissingError(msg)
        return module

    def _load(self, path: str) -> Module | None:
        if path not in self._modules:
            text = self._tree.read(path)
            self._modules[path] = None if text is None else self._parse(path, text)
        return self._modules[path]

    def _named(self, module: Module, name: str, trail: frozenset[tuple[str, str]]) -> Symbol:
        binding = module.names.get(name)
        here = (module.path, name)
        if binding is None or here in trail:
            msg = f"{module.path} does not define {name}"
            raise SymbolMissingError(msg)
        if not isinstance(binding, Import):
            return Symbol(name, binding, module)
        origin = _absolute(module.path, binding)
        if _is_foreign(module.path, binding):
            msg = f"{module.path} takes {name} from {origin}, which is not a part of {PACKAGE}"
            raise SymbolMissingError(msg)
        return self._named(self._imported(origin), binding.name, trail | {here})

    def _imported(self, dotted: str) -> Module:
        stem = dotted.replace(".", "/")
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            module = self._load(path)
            if module is not None:
                return module
        msg = f"neither {stem}.py nor {stem}/__init__.py is in this tree"
        raise FileMissingError(msg)

    def _member(self, symbol: Symbol, name: str) -> Symbol:
        for ancestor in self.lineage(symbol):
            member = members_of(ancestor.node).get(name)
            # A base class that only raises NotImplementedError does not provide the member.
            inherited = ancestor.node is not symbol.node
            if member is None or (inherited and is_stub(member)):
                continue
            if isinstance(ancestor.node, ast.ClassDef):
                return Symbol(name, member, ancestor.module, ancestor.node)
        msg = f"{symbol.module.path}: {symbol.name} has no member {name}"
        raise SymbolMissingError(msg)

    def _base(
        self, module: Module, expression: ast.expr, failures: list[ContractError]
    ) -> Iterator[Symbol]:
        """The class behind a base expression; none if it comes from outside of the package."""
        node = expression.value if isinstance(expression, ast.Subscript) else expression
        binding = module.names.get(node.id) if isinstance(node, ast.Name) else None
        if binding is None or not isinstance(node, ast.Name) or _is_foreign(module.path, binding):
            return
        try:
            yield self._named(module, node.id, frozenset())
        except (FileMissingError, SymbolMissingError) as err:
            failures.append(err)


def members_of(node: Definition) -> dict[str, Definition]:
    """The members that the body of a class binds; the last definition of a name counts."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    pairs = (pair for statement, _ in statements(body) for pair in bindings(statement))
    return {name: binding for name, binding in pairs if not isinstance(binding, Import)}


def stated_bases(symbol: Symbol) -> frozenset[str]:
    """The last names of the bases that a class states itself."""
    bases = symbol.node.bases if isinstance(symbol.node, ast.ClassDef) else []
    return frozenset(filter(None, map(last_name, bases)))


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
    return Module(path, tree, _names(tree))


def _names(tree: ast.Module) -> dict[str, Binding]:
    """What a module offers: what it binds, and what it only declares but makes on demand."""
    bound: dict[str, Binding] = {}
    declared: dict[str, Binding] = {}
    for statement, typing in statements(tree.body):
        bare = isinstance(statement, ast.AnnAssign) and statement.value is None
        (declared if typing or bare else bound).update(bindings(statement))
    # PEP 562: a module with __getattr__ may well provide what it declares to type checkers.
    return {**declared, **bound} if "__getattr__" in bound else bound


def _absolute(path: str, origin: Import) -> str:
    if not origin.level:
        return origin.module
    package = path.split("/")[:-1]
    parts = package[: len(package) - origin.level + 1]
    return ".".join([*parts, origin.module] if origin.module else parts)


def _is_foreign(path: str, binding: Binding) -> bool:
    """Whether a name comes from another package."""
    return isinstance(binding, Import) and _absolute(path, binding).split(".")[0] != PACKAGE
