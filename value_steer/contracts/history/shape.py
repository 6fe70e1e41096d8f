"""The shape of a contract's symbol in a release, in one line, so that releases compare."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from value_steer.contracts.needs import (
    Calls,
    Constructible,
    Contains,
    Fields,
    IsClass,
    Parameters,
)
from value_steer.contracts.needs.attributes import annotated_fields, constructor_arguments
from value_steer.contracts.needs.behaviour import calls_of, occurrences
from value_steer.contracts.needs.definitions import kind
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.surface import Surface

FIELDS = "fields "

_WIDEST = 160
_LIST = re.compile(r"(?:the function )?\((.*)\)")


def shape(surface: Surface, sources: Sources) -> str | None:
    """The part of a symbol's definition that its row is about; ``None`` if it is not there."""
    try:
        return _shape(surface, sources.find(surface.path, surface.symbol), sources)
    except (ContractError, RecursionError):  # the finding of the row says which and why
        return None


def difference(old: str, new: str) -> str:
    """Two shapes side by side or, where that is not to be compared by eye, what came and went."""
    was, now = _parts(old), _parts(new)
    wide = old.startswith(FIELDS) or len(old) + len(new) > _WIDEST
    if not wide or set(was) == set(now):
        return f"{old} → {new}"
    gained = [f"+{part}" for part in now if part not in was]
    lost = [f"-{part}" for part in was if part not in now]
    return " ".join([*([FIELDS.strip()] if old.startswith(FIELDS) else []), *gained, *lost])


def _parts(text: str) -> list[str]:
    """The fields, parameters or arguments that a shape lists."""
    if text.startswith(FIELDS):
        return text.removeprefix(FIELDS).split(", ")
    if listed := _LIST.fullmatch(text):
        return listed[1].split(", ")
    try:
        calls = [ast.parse(call, mode="eval").body for call in text.split("; ")]
    except SyntaxError:  # a shape in words has no parts
        return []
    arguments = (a for c in calls if isinstance(c, ast.Call) for a in (*c.args, *c.keywords))
    return list(dict.fromkeys(map(ast.unparse, arguments)))


def _shape(surface: Surface, symbol: Symbol, sources: Sources) -> str:
    need = surface.need
    if isinstance(need, Calls):
        return "; ".join(ast.unparse(call) for call in calls_of(symbol.node, need.receiver))
    first = symbol.as_class()
    if isinstance(need, Fields) and first:
        names = [name for ancestor in sources.lineage(first) for name in annotated_fields(ancestor)]
        return FIELDS + ", ".join(dict.fromkeys(names))
    if isinstance(need, Constructible) and first:
        taken = constructor_arguments(first, sources) or {}
        return f"({', '.join(n if required else f'{n}=…' for n, required in taken.items())})"
    if isinstance(need, IsClass) and need.bases and first:
        return f"a class on {', '.join(sorted(first.stated_bases())) or 'nothing'}"
    if isinstance(need, Parameters):
        return kind(symbol)
    code = occurrences(symbol.node, need.code) if isinstance(need, Contains) else ()
    written = "; ".join(dict.fromkeys(map(ast.unparse, code)))
    return written or kind(symbol).partition("(")[0].strip()
