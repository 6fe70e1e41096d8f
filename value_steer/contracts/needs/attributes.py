"""Needs on what the instances of a class carry."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.lookup import members_of, stated_bases
from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import FUNCTIONS, dotted, last_name, nested, signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.syntax import Definition, Function

_RECORD_BASES = frozenset({"NamedTuple", "Struct"})
_FIELD_MAKERS = frozenset({"field", "Field"})
_DEFAULTS = frozenset({"default", "default_factory"})


@dataclass(frozen=True, slots=True)
class Fields:
    """Annotated fields of a dataclass, named tuple or struct, inherited ones included.

    Attributes:
        names: The fields, in no order.
        writable: The fields of an instance are assigned to, so it must not be frozen.
    """

    names: tuple[str, ...]
    writable: bool = False

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say which fields are missing, or why none can be assigned."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class with fields; found {kind(symbol)}"
        if self.writable and _is_frozen(symbol):
            return "needs fields that can be assigned; found a frozen record"
        found: dict[str, bool] = {}
        for ancestor in sources.lineage(symbol):
            found |= annotated_fields(ancestor.node)
            if found.keys() >= set(self.names):
                return None
        missing = [name for name in self.names if name not in found]
        return f"needs the fields {', '.join(missing)}; found {', '.join(found) or 'none'}"


@dataclass(frozen=True, slots=True)
class Constructible:
    """A record that can be made from exactly these fields, given by name.

    Attributes:
        fields: The fields that are given; every other one must have a default.
    """

    fields: tuple[str, ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say which fields are unknown to it, and which ones it wants besides."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class; found {kind(symbol)}"
        accepted = constructor_arguments(symbol, sources)
        if accepted is None:
            return "needs a dataclass, named tuple or struct; found a plain class"
        unknown = [name for name in self.fields if name not in accepted]
        wanted = [n for n, required in accepted.items() if required and n not in self.fields]
        if not unknown and not wanted:
            return None
        shown = ", ".join(name if required else f"{name}=…" for name, required in accepted.items())
        return f"needs to be made from ({', '.join(self.fields)}); found ({shown})"


@dataclass(frozen=True, slots=True)
class Assigns:
    """Attributes that the methods of a class set on the instance, to something but ``None``.

    Attributes:
        names: The attributes.
    """

    names: tuple[str, ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say which attributes no method sets."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class; found {kind(symbol)}"
        found: set[str] = set()
        for ancestor in sources.lineage(symbol):
            found |= _assigned(ancestor.node)
            if found >= set(self.names):
                return None
        missing = [f"self.{name}" for name in self.names if name not in found]
        return f"needs {', '.join(missing)} to be assigned; found no method that does"


@dataclass(frozen=True, slots=True)
class AssignedFrom:
    """An attribute that a method sets, each time to one of these and to nothing else.

    Attributes:
        name: The attribute.
        origins: Dotted names, as they are written there: ``vllm_config.use_v2_model_runner``; each
            may be the tail of a longer one.
    """

    name: str
    origins: tuple[str, ...]

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Say what it is set to instead."""
        if not isinstance(symbol.node, ast.ClassDef):
            return f"needs a class; found {kind(symbol)}"
        values = [
            value
            for ancestor in sources.lineage(symbol)
            for name, value in _assignments(ancestor.node)
            if name == self.name
        ]
        if values and all(map(self._is_origin, values)):
            return None
        found = ", ".join(map(ast.unparse, values)) or "no method that assigns it"
        return f"needs self.{self.name} from {' or '.join(self.origins)}; found {found}"

    def _is_origin(self, value: ast.expr) -> bool:
        return any(f".{dotted(value)}".endswith(f".{origin}") for origin in self.origins)


def annotated_fields(node: Definition) -> dict[str, bool]:
    """The fields that a class body annotates, and whether a value must be given for each."""
    return {
        name: _required(member)
        for name, member in members_of(node).items()
        if isinstance(member, ast.AnnAssign)
        and last_name(member.annotation) not in {"ClassVar", "KW_ONLY"}
    }


def _required(member: ast.AnnAssign) -> bool:
    value = member.value
    if isinstance(value, ast.Call) and last_name(value.func) in _FIELD_MAKERS:
        return not value.args and not any(k.arg in _DEFAULTS for k in value.keywords)
    return value is None


def constructor_arguments(symbol: Symbol, sources: Sources) -> dict[str, bool] | None:
    """What making an instance takes, and which of it is required; ``None`` if nobody can say."""
    ancestors = list(sources.lineage(symbol))
    constructor = members_of(symbol.node).get("__init__")
    if isinstance(constructor, FUNCTIONS):
        taken = signature(constructor, in_class=True)
        return {p.name: p.required for p in (*taken.positional, *taken.keyword_only)}
    if not any(_is_record(ancestor) for ancestor in ancestors):
        return None
    accepted: dict[str, bool] = {}
    for ancestor in reversed(ancestors):
        accepted |= annotated_fields(ancestor.node)
    return accepted


def _is_record(symbol: Symbol) -> bool:
    return bool(stated_bases(symbol) & _RECORD_BASES) or _dataclass(symbol) is not None


def _is_frozen(symbol: Symbol) -> bool:
    if "NamedTuple" in stated_bases(symbol):
        return True
    maker = _dataclass(symbol)
    return isinstance(maker, ast.Call) and any(
        keyword.arg == "frozen" and isinstance(keyword.value, ast.Constant) and keyword.value.value
        for keyword in maker.keywords
    )


def _dataclass(symbol: Symbol) -> ast.expr | None:
    """The ``@dataclass`` of a class."""
    makers = symbol.node.decorator_list if isinstance(symbol.node, ast.ClassDef) else []
    return next((maker for maker in makers if last_name(maker) == "dataclass"), None)


def _assigned(node: Definition) -> set[str]:
    """The attributes that the methods in a class body set, to something but ``None``."""
    return {name for name, value in _assignments(node) if not _is_none(value)}


def _assignments(node: Definition) -> Iterator[tuple[str, ast.expr]]:
    """The attributes that the methods in a class body set on their receiver, and to what."""
    for method in members_of(node).values():
        if isinstance(method, FUNCTIONS):
            for target, value in _targets(method):
                if isinstance(target, ast.Attribute) and dotted(target.value) == _receiver(method):
                    yield target.attr, value


def _receiver(method: Function) -> str | None:
    arguments = [*method.args.posonlyargs, *method.args.args]
    return arguments[0].arg if arguments else None


def _targets(method: Function) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in nested(method.body):
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in _unpacked(node.targets))
        elif isinstance(node, ast.AnnAssign) and node.value:
            yield node.target, node.value


def _unpacked(targets: Iterable[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _unpacked(target.elts)
        else:
            yield target


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
