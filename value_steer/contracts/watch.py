"""Things in vLLM that move between releases and that value-steer does not bind to.

They are no contracts: nothing fails when they change, and the history says what became of them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from value_steer.contracts.lookup import FileMissingError, SymbolMissingError
from value_steer.contracts.needs.attributes import annotated_fields
from value_steer.contracts.needs.definitions import kind
from value_steer.contracts.shape import FIELDS
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable

    from value_steer.contracts.lookup import Sources, Symbol

    Look: TypeAlias = Callable[[Symbol], str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, or was, in vLLM.

    Attributes:
        path: The file: ``vllm/v1/outputs.py``.
        symbol: A name of that module, or ``Class.member``.
    """

    path: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.path}, {self.symbol}"


@dataclass(frozen=True, slots=True)
class Watch:
    """One thing to look at in every release.

    Attributes:
        id: Stable name, unique among watches and contracts.
        places: Where it is, the older places first; it is looked at in the first that is there.
        look: What is read of it.
        why: Why value-steer does not depend on it, in one sentence.
    """

    id: str
    places: tuple[Place, ...]
    look: Look
    why: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a watch saw in one release.

    Attributes:
        id: The watch.
        place: Where it is, as ``path, symbol``; ``None`` if it is nowhere.
        seen: What it looks like, in one line.
    """

    id: str
    place: str | None
    seen: str | None


def sight(watch: Watch, sources: Sources) -> Sighting:
    """Look at one thing in one source tree; what cannot be read is told, never raised."""
    for place in watch.places:
        try:
            symbol = sources.find(place.path, place.symbol)
        except (FileMissingError, SymbolMissingError):
            continue
        except ContractError as err:
            return Sighting(watch.id, str(place), str(err))
        return Sighting(watch.id, str(place), watch.look(symbol))
    return Sighting(watch.id, None, None)


def arguments(symbol: Symbol) -> str:
    """How a function is called."""
    return kind(symbol).removeprefix("the function ")


def fields(symbol: Symbol) -> str:
    """The fields that a record states itself."""
    return FIELDS + ", ".join(annotated_fields(symbol.node))


def returned(symbol: Symbol) -> str:
    """What the last statement of a function returns."""
    body = getattr(symbol.node, "body", ())
    last = body[-1] if body else None
    value = last.value if isinstance(last, ast.Return) else None
    return ast.unparse(value) if value else "no value that is written down"


def has_field(symbol: Symbol, name: str) -> str:
    """Whether a record has a field."""
    return f"{'with' if name in annotated_fields(symbol.node) else 'without'} {name}"
