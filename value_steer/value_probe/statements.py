"""Statements of a card about its head, in whatever words.

A key that states layer, position, pooling, polarity, inversion, scaling, activation, width, model
or template is understood or refused; none of them counts as absent. Keys are compared without case,
dashes and underscores, at any depth; one that is not known counts by its words, and by a value that
can mean nothing else.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.records.codec import parse_json
from value_steer.records.fields import shown
from value_steer.value_probe import spellings as say
from value_steer.value_probe.readers import (
    NEAR,
    READERS,
    VALUES,
    Statements,
    plain_key,
    polarity_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from value_steer.value_probe.readers import Reader

__all__ = ["Statements", "plain_key", "polarity_of", "same_model", "statements"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a JSON object.

    Attributes:
        at: Its dotted place, for messages.
        names: Its own name after those of the objects that it is in.
        key: Its plain key, or that of the object that it is a part of.
        value: What it holds.
    """

    at: str
    names: tuple[str, ...]
    key: str
    value: Any


def statements(body: Mapping[str, Any]) -> Statements:
    """Read all that a JSON object states; what contradicts itself is a problem."""
    found = Statements()
    for entry in _entries(body):
        reader = _reader(entry)
        if reader is not None:
            reader(entry.at, entry.value, found)
    several = {
        "polarities": {scores.value for scores in found.scores},
        "hidden sizes": {str(width) for width in found.widths},
        "models": {str(same_model(model)) for model in found.models},
        "templates": {*found.templates},
    }
    found.problems += [
        f"it states several {what}: {shown(sorted(stated))}; keep the right one"
        for what, stated in several.items()
        if len(stated) > 1
    ]
    return found


def same_model(name: str | None) -> str | None:
    """The part that a path and a name in a hub share if they mean the same model."""
    return None if name is None else name.rstrip("/").rpartition("/")[2].lower()


def _reader(entry: _Entry) -> Reader | None:
    """Who reads an entry: by its key, else by words of it, else by what only one kind can be."""
    text = entry.value.strip().lower() if isinstance(entry.value, str) else ""
    is_address = "://" in text
    is_aside = not say.ASIDE.isdisjoint(plain_key(name) for name in entry.names[:-1])
    if (is_aside and entry.key in say.ELSEWHERE_TOO) or (is_address and entry.key == "site"):
        return None
    exact = next((read for names, read in READERS if entry.key in names), None)
    if exact is not None or entry.key in say.HARMLESS or is_address:
        return exact
    # {"target_layer": {"index": ...}} is known by the outer name.
    names = entry.names[-2 if entry.key in say.PARTS else -1 :]
    # "modelDepth" and "model_depth" are of two words.
    words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", " ".join(names))).lower()
    rules = NEAR[:1] if is_aside else NEAR
    near = (read for has, lacks, read in rules if has.search(words) and not lacks.search(words))
    meant = (read for pattern, read in VALUES if pattern.fullmatch(text) and not is_aside)
    return next(near, None) or next(meant, None)


def _entries(body: Mapping[str, Any]) -> Iterator[_Entry]:
    """All entries, those of inner objects included."""
    waiting: deque[tuple[str, tuple[str, ...], str, Any]] = deque([("", (), "", body)])
    while waiting:
        at, outer, parent, value = waiting.popleft()
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, held in pairs:
            inner = _listed(held)
            place = f"{at}.{_cut(str(name))}" if at else _cut(str(name))
            # In the card of a head that was saved again, names have dots.
            # {"model": {"name": ...}} states a model, {"layer": {"index": ...}} a layer.
            is_part = isinstance(name, int) or (
                parent in say.WITH_PARTS and plain_key(name) in say.PARTS
            )
            names = outer if is_part else (*outer, *str(name).split("."))
            key = parent if is_part else plain_key(str(name))
            if isinstance(value, dict) and (not isinstance(inner, dict) or key in say.LABELS):
                yield _Entry(place, names, key, inner)
            if isinstance(inner, (dict, list)):
                waiting.append((place, names, key, inner))


def _listed(value: object) -> object:
    """The list of a text that holds one, as the card of a head that was saved again does."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def _cut(text: str) -> str:
    text = text if text.isascii() and text.isprintable() else shown(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_SHOWN = 60
