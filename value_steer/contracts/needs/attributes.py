"""Needs on what the instances of a class carry."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.syntax import (
    FUNCTIONS,
    decorators,
    dotted,
    is_none,
    last_name,
    nested,
    signature,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.contracts.classes import Class
    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.syntax import Function

_FIELD_MAKERS = frozenset({"field", "Field"})
_DEFAULTS = frozenset({"default", "default_factory"})
_SEQUENCE = (ast.Tuple, ast.List)


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
        first = symbol.as_class()
        if first is None:
            return f"needs a class with fields; found {kind(symbol)}"
        if self.writable and _is_frozen(first, sources):
            return "needs fields that can be assigned; found a frozen record"
        found: dict[str, ast.AnnAssign] = {}
        for ancestor in sources.lineage(first):
            found |= annotated_fields(ancestor)
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
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        accepted = constructor_arguments(first, sources)
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
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        found: set[str] = set()
        for ancestor in sources.lineage(first):
            found |= _assigned(ancestor)
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
        first = symbol.as_class()
        if first is None:
            return f"needs a class; found {kind(symbol)}"
        values = [
            value
            for ancestor in sources.lineage(first)
            for name, value in _assignments(ancestor)
            if name == self.name
        ]
        if values and all(map(self._is_origin, values)):
            return None
        found = ", ".join(map(ast.unparse, values)) or "no method that assigns it"
        return f"needs self.{self.name} from {' or '.join(self.origins)}; found {found}"

    def _is_origin(self, value: ast.expr) -> bool:
        return any(f".{dotted(value)}".endswith(f".{origin}") for origin in self.origins)


def annotated_fields(one: Class) -> dict[str, ast.AnnAssign]:
    """The fields that the body of a class annotates."""
    return {
        name: member
        for name, member in one.members().items()
        if isinstance(member, ast.AnnAssign)
        and last_name(member.annotation) not in {"ClassVar", "KW_ONLY"}
    }


def constructor_arguments(first: Class, sources: Sources) -> dict[str, bool] | None:
    """The arguments of a constructor, and which are required; ``None`` if nobody can say."""
    lineage = list(sources.lineage(first))
    for at, ancestor in enumerate(lineage):
        constructor = ancestor.members().get("__init__")
        if isinstance(constructor, FUNCTIONS):
            taken = signature(constructor, in_class=True)
            return {p.name: p.required for p in (*taken.positional, *taken.keyword_only)}
        if _is_record(ancestor, sources):
            records = (one for one in reversed(lineage[at:]) if _is_record(one, sources))
            fields = {n: field for one in records for n, field in annotated_fields(one).items()}
            return {name: _required(f) for name, f in fields.items() if _is_argument(f)}
    return None


def _required(field: ast.AnnAssign) -> bool:
    maker = _maker(field)
    if maker is None:
        return field.value is None
    stated = [*maker.args[:1], *(k.value for k in maker.keywords if k.arg in _DEFAULTS)]
    # pydantic writes ``Field(...)`` for a field that has no default
    return all(isinstance(one, ast.Constant) and one.value is ... for one in stated)


def _is_argument(field: ast.AnnAssign) -> bool:
    maker = _maker(field)
    return maker is None or all(ast.unparse(k) != "init=False" for k in maker.keywords)


def _maker(field: ast.AnnAssign) -> ast.Call | None:
    """The ``field(…)`` that describes a field."""
    if isinstance(field.value, ast.Call) and last_name(field.value) in _FIELD_MAKERS:
        return field.value
    return None


def _is_record(one: Class, sources: Sources) -> bool:
    """Whether the fields of a class itself are arguments of its constructor."""
    if "dataclass" in decorators(one.node) or "NamedTuple" in one.stated_bases():
        return True
    return any("Struct" in ancestor.stated_bases() for ancestor in sources.lineage(one))


def _is_frozen(first: Class, sources: Sources) -> bool:
    """Whether the first of a line that says anything of it says so."""
    for ancestor in sources.lineage(first):
        if "NamedTuple" in ancestor.stated_bases():
            return True
        if (frozen := ancestor.states("frozen")) is not None:
            return frozen
    return False


def _assigned(one: Class) -> set[str]:
    """The attributes that the methods in a class body set, to something but ``None``."""
    return {name for name, value in _assignments(one) if not is_none(value)}


def _assignments(one: Class) -> Iterator[tuple[str, ast.expr]]:
    """The attributes that the methods in a class body set on their receiver, and to what."""
    for method in one.members().values():
        if isinstance(method, FUNCTIONS) and (receiver := _receiver(method)):
            for target, value in _targets(method):
                if isinstance(target, ast.Attribute) and dotted(target.value) == receiver:
                    yield target.attr, value


def _receiver(method: Function) -> str | None:
    arguments = [*method.args.posonlyargs, *method.args.args]
    has_receiver = arguments and "staticmethod" not in decorators(method)
    return arguments[0].arg if has_receiver else None


def _targets(method: Function) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in nested(method.body):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _unpacked(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value:
            yield node.target, node.value
        elif isinstance(node, ast.AugAssign):
            yield node.target, ast.BinOp(node.target, node.op, node.value)


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The targets in ``(a, b) = …``, each with its part of the value, or the whole if unclear."""
    if not isinstance(target, _SEQUENCE):
        yield target, value
        return
    written = value.elts if isinstance(value, _SEQUENCE) else []
    is_paired = len(written) == len(target.elts) and not any(
        isinstance(one, ast.Starred) for one in (*written, *target.elts)
    )
    for at, element in enumerate(target.elts):
        yield from _unpacked(element, written[at] if is_paired else value)
