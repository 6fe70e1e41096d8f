"""Finding a definition in a source tree, through re-exports and base classes."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.classes import Class, merged
from value_steer.contracts.modules import absolute, is_foreign, parse
from value_steer.contracts.sources.tree import PACKAGE
from value_steer.contracts.syntax import Import, dotted, is_bare, is_stub
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from value_steer.contracts.modules import Module
    from value_steer.contracts.sources.tree import SourceTree
    from value_steer.contracts.syntax import Binding, Definition


class FileMissingError(ContractError):
    """The tree has no such file, so nothing is known of what it would define."""


class SymbolMissingError(ContractError):
    """The file is there and does not define the name."""


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

    def as_class(self) -> Class | None:
        """The class that it is, if it is one."""
        return Class(self.node, self.module) if isinstance(self.node, ast.ClassDef) else None


@dataclass(frozen=True, slots=True)
class _Line:
    """A class with its bases in the order of lookup, and what could not be followed."""

    classes: tuple[Class, ...]
    failures: tuple[ContractError, ...]


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
        self._lines: dict[ast.ClassDef, _Line] = {}

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

    def lineage(self, first: Class) -> Iterator[Class]:
        """A class and its base classes inside the package, in Python's order of attribute lookup.

        Raises:
            FileMissingError: At the end, if a base could not be read for want of its file.
            SymbolMissingError: At the end, if a base is taken from where it is not defined, or if
                Python would refuse the class.
        """
        # Most of what is asked of a class it answers itself, and then no further file is read.
        yield first
        line = self._line(first, ())
        yield from line.classes[1:]
        if line.failures:
            raise line.failures[0]

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
        if (alias := _alias(binding)) and alias != name and alias in module.names:
            return self._named(module, alias, trail | {here})
        if not isinstance(binding, Import):
            return Symbol(name, binding, module)
        origin = absolute(module.path, binding)
        if is_foreign(module.path, binding):
            msg = f"{module.path} takes {name} from {origin}, which is not a part of {PACKAGE}"
            raise SymbolMissingError(msg)
        if binding.name is None:
            msg = f"{module.path} has {name} for a module, {origin}"
            raise SymbolMissingError(msg)
        try:
            there = self._imported(origin)
        except FileMissingError:
            if isinstance(other := module.instead.get(name), Import | None):
                raise
            return Symbol(name, other, module)
        return self._named(there, binding.name, trail | {here})

    def _imported(self, name: str) -> Module:
        module = self._at(name)
        if module is None:
            stem = name.replace(".", "/")
            msg = f"neither {stem}.py nor {stem}/__init__.py is in this tree"
            raise FileMissingError(msg)
        return module

    def _at(self, name: str) -> Module | None:
        """The module of a dotted name, if there is one."""
        stem = name.replace(".", "/")
        return self._load(f"{stem}.py") or self._load(f"{stem}/__init__.py")

    def _member(self, symbol: Symbol, name: str) -> Symbol:
        first = symbol.as_class()
        declared: Symbol | None = None
        for ancestor in self.lineage(first) if first else ():
            member = ancestor.members().get(name)
            # A base class that only raises NotImplementedError does not provide the member.
            if member is None or (ancestor != first and is_stub(member)):
                continue
            found = Symbol(name, member, ancestor.module, ancestor.node)
            if not is_bare(member):
                return found
            declared = declared or found  # an annotation binds nothing: a base may well do
        if declared:
            return declared
        msg = f"{symbol.module.path}: {symbol.name} has no member {name}"
        raise SymbolMissingError(msg)

    def _line(self, first: Class, below: tuple[Class, ...]) -> _Line:
        """The line of a class that those ``below`` derive from."""
        if first.node not in self._lines:
            self._lines[first.node] = self._drawn(first, (*below, first))
        return self._lines[first.node]

    def _drawn(self, first: Class, derived: tuple[Class, ...]) -> _Line:
        failures: list[ContractError] = []
        bases = self._bases(first, failures)
        here = f"{first.module.path}: {first.node.name}"
        if any(base in derived for base in bases):
            failures.append(SymbolMissingError(f"{here} is among its own bases"))
        bases = [base for base in bases if base not in derived]
        lines = [self._line(base, derived) for base in bases]
        failures += [failure for line in lines for failure in line.failures]
        order = merged([*(line.classes for line in lines), bases])
        if order is None:
            failures.append(SymbolMissingError(f"{here} has bases in no consistent order"))
        return _Line((first, *(order or bases)), tuple(failures))

    def _bases(self, first: Class, failures: list[ContractError]) -> Sequence[Class]:
        """The stated bases that are classes of the package."""
        bases = []
        for expression in first.node.bases:
            try:
                base = self._base(first.module, expression)
            except (FileMissingError, SymbolMissingError) as err:
                failures.append(err)
            else:
                bases += [base] if base else []
        return bases

    def _base(self, module: Module, expression: ast.expr) -> Class | None:
        """The class behind a base expression; none if it comes from outside of the package."""
        node = expression.value if isinstance(expression, ast.Subscript) else expression
        head, *rest = (dotted(node) or "").split(".")
        binding = module.names.get(head)
        if binding is None or is_foreign(module.path, binding):
            return None
        if not rest:
            return self._named(module, head, frozenset()).as_class()
        if not isinstance(binding, Import):  # a class inside a class, an attribute of a variable
            return None
        origin = absolute(module.path, binding)
        *parts, name = [*([binding.name] if binding.name else []), *rest]
        return self._named(self._imported(".".join([origin, *parts])), name, frozenset()).as_class()


def _alias(binding: Binding) -> str | None:
    """The name that ``other = name`` is another one for."""
    if isinstance(binding, ast.Assign) and isinstance(binding.value, ast.Name):
        return binding.value.id
    return None
