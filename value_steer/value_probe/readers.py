"""Readers of each kind of statement: the forms they understand, and those they refuse."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from value_steer.records.fields import shown
from value_steer.value_probe import spellings as say
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader: TypeAlias = "Callable[[str, object, Statements], None]"


@dataclass(slots=True)
class Statements:
    """The statements that were understood.

    Attributes:
        scores: Polarities that are stated.
        models: Backbones that are stated.
        templates: Chat templates that are stated: SHA-256 in hex, a name, or ``"none"``.
        widths: Hidden sizes that are stated.
        activations: Where activations are stated, and their names.
        problems: What was not understood or cannot be served, one line each.
    """

    scores: set[Polarity] = field(default_factory=set)
    models: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    widths: set[int] = field(default_factory=set)
    activations: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def polarity_of(words: str) -> Polarity | None:
    """The polarity in words such as ``P(unsafe)``; ``None`` if that is not known."""
    word = words.strip().lower()
    if word in say.OURS:
        return Polarity(word)
    if compared := say.HIGHER.fullmatch(word):
        word = say.COMPARED.get(compared.group(1), compared.group(1))
    elif event := say.PROBABILITY.fullmatch(word):
        word = event.group(1)
    return say.WORDS.get(re.sub(r"[\s_-]+", "_", word.strip()))


def plain_key(name: str) -> str:
    """A key as :mod:`value_steer.value_probe.spellings` has it; of a dotted name the last part."""
    return re.sub(r"[\s_-]+", "", name.rpartition(".")[2]).lower()


def _layer(at: str, value: object, found: Statements) -> None:
    only = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not _is_one_of(only, say.FINAL) and not (type(only) is int and only == -1):
        found.problems.append(f'{at} = {shown(value)}: must be "final" or -1, {_OTHER}')


def _position(at: str, value: object, found: Statements) -> None:
    is_last = type(value) is int and value == -1
    if value is not None and not _is_one_of(value, say.EACH_TOKEN) and not is_last:
        hint = ' (of a loss: below "loss")' if plain_key(at) in say.ELSEWHERE_TOO else ""
        found.problems.append(f'{at} = {shown(value)}: must be "none" or "last"{hint}, {_OTHER}')


def _norm(at: str, value: object, found: Statements) -> None:
    if value is not True and not _is_one_of(value, say.POST_NORM):
        found.problems.append(f'{at} = {shown(value)}: must be "post_norm", {_OTHER}')


def _transformed(at: str, value: object, found: Statements) -> None:
    if (
        value is not None
        and value is not False
        and not _is_one_of(value, say.NOTHING | say.POST_NORM)
    ):
        found.problems.append(
            f"{at} = {shown(value)}: the head reads a transformed state, and lm_head's is given "
            "to it; fold the transformation into its first layer, see value-steer convert"
        )


def _inverted(at: str, value: object, found: Statements) -> None:
    # The sign of a score that is not turned is 1; a flip that did not happen is 0.
    unit = 1 if at.lower().endswith("sign") else 0
    is_neutral = value is None or value is False or (type(value) in {int, float} and value == unit)
    if not is_neutral and not _is_one_of(value, say.NOTHING | say.UPRIGHT):
        found.problems.append(
            f"{at} = {shown(value)}: the head's score is turned; turn the sign of its last layer, "
            "state what a high score means then, and remove this"
        )


def _rescaled(at: str, value: object, found: Statements) -> None:
    # As a flag it says that layers have a bias; their tensors say which.
    is_neutral = value is None or isinstance(value, bool) or _is_one_of(value, say.NOTHING)
    unit = 0 if say.SHIFT.search(at.lower()) else 1
    if not is_neutral and not (type(value) in {int, float} and value == unit):
        found.problems.append(
            f"{at} = {shown(value)}: the head's state or score is shifted or scaled, and is not "
            "here; fold it into a layer and remove this (a sampling setting or a statistic belongs "
            'below "sampling" or "metrics")'
        )


def _positive(at: str, value: object, found: Statements) -> None:
    """The meaning of label 1; numbers from 2 on, and lists, count or measure."""
    is_number = type(value) in {int, float} and value not in {0, 1}
    if not is_number and not isinstance(value, list):
        _scores(at, value, found)


def _one(at: str, value: object, found: Statements) -> None:
    _labels(at, [None, value], found)


def _zero(_: str, value: object, found: Statements) -> None:
    """The meaning of label 0: label 1 has the opposite."""
    polarity = polarity_of(value) if isinstance(value, str) else None
    found.scores |= {p for p in Polarity if polarity is not None and p is not polarity}


def _counted(at: str, value: object, found: Statements) -> None:
    """A key that may state the width, or anything else of features."""
    if type(value) is int:
        _width(at, value, found)


def _scores(at: str, value: object, found: Statements) -> None:
    if value is None:
        return
    polarity = polarity_of(value) if isinstance(value, str) else None
    if polarity is None:
        found.problems.append(
            f'{at} = {shown(value)}: write "p_good" or "p_undesirable", by what a high score means'
        )
    else:
        found.scores.add(polarity)


def _event(at: str, value: object, found: Statements) -> None:
    """A key that may state a polarity, or something else altogether."""
    if not isinstance(value, str):
        return
    text = value.strip().lower()
    words = set(re.split(r"[^a-z]+", text))
    is_event = (say.PROBABILITY.fullmatch(text) and "(" in text) or say.HIGHER.fullmatch(text)
    if words & say.WORDS.keys() or is_event:
        _scores(at, value, found)


def _token(at: str, value: object, found: Statements) -> None:
    """A key that may state a position, or count tokens."""
    if _is_one_of(value, say.ELSEWHERE):
        _position(at, value, found)


def _labels(at: str, value: object, found: Statements) -> None:
    """Names of the labels 0 and 1, as a list or a mapping in either direction."""
    if isinstance(value, list):
        ones = value[1:] if len(value) == 2 else value
    elif isinstance(value, dict):
        ones = [v for k, v in value.items() if k.lower() in {"1", "label_1"}]
        ones += [k for k, v in value.items() if type(v) is int and v == 1]
    else:
        ones = [value]
    if len(ones) == 1:
        _event(at, ones[0], found)
    else:
        names = (str(name).lower() for name in value) if isinstance(value, (dict, list)) else ()
        if not say.WORDS.keys().isdisjoint(names):
            found.problems.append(f'{at}: which label is 1? state "scores"')


def _better(good: Polarity, bad: Polarity) -> Reader:
    def read(at: str, value: object, found: Statements) -> None:
        if isinstance(value, bool):
            found.scores.add(good if value else bad)
        else:
            _scores(at, value, found)

    return read


def _model(at: str, value: object, found: Statements) -> None:
    if isinstance(value, str):
        found.models.append(value)
    elif value is not None:
        found.problems.append(f"{at} = {shown(value)}: must be the name of the model")


def _template(at: str, value: object, found: Statements) -> None:
    if value is None or value is False:
        found.templates.append("none")
    elif isinstance(value, str):
        is_text = "{{" in value or "{%" in value
        found.templates.append(hashlib.sha256(value.encode()).hexdigest() if is_text else value)
    else:
        found.problems.append(f"{at} = {shown(value)}: must be the template, its SHA-256 or name")


def _width(at: str, value: object, found: Statements) -> None:
    if type(value) is int and value > 0:
        found.widths.add(value)
    elif value is not None:
        found.problems.append(f"{at} = {shown(value)}: must be a whole number from 1 on")


def _activation(at: str, value: object, found: Statements) -> None:
    names = value if isinstance(value, list) else [value]
    words = {word for name in names for word in re.findall("[a-z0-9]+", str(name).lower())}
    if value is not None:
        found.activations.append((at, frozenset(words)))


def _output(at: str, value: object, found: Statements) -> None:
    if value is not None and not _is_one_of(value, say.OUTPUTS):
        found.problems.append(f"{at} = {shown(value)}: a head's last layer is followed by sigmoid")


def _is_one_of(value: object, words: frozenset[str]) -> bool:
    return isinstance(value, str) and re.sub(r"[\s_-]+", "_", value.strip().lower()) in words


_OTHER = (
    "or the head reads another tensor than lm_head does and cannot be served; train one on the "
    "final post-norm state"
)

READERS: tuple[tuple[frozenset[str], Reader], ...] = (
    (say.STATE_INDICES, _layer),
    (say.POSITIONS, _position),
    (say.NORMS, _norm),
    (say.TRANSFORMS, _transformed),
    (say.SCORES, _scores),
    (say.POSITIVES, _positive),
    (say.BETTER, _better(*Polarity)),
    (say.WORSE, _better(*reversed(Polarity))),
    (say.INVERSIONS, _inverted),
    (say.SCALINGS | say.SHIFTS, _rescaled),
    (say.EVENTS, _event),
    (say.LABELS, _labels),
    (say.ONES, _one),
    (say.ZEROS | say.NEGATIVES, _zero),
    (say.TOKENS, _token),
    (say.MODELS, _model),
    (say.TEMPLATES, _template),
    (say.WIDTHS, _width),
    (say.FEATURES, _counted),
    (say.ACTIVATION_KEYS, _activation),
    (say.OUTPUT_KEYS, _output),
)
"""By the plain key, the whole of it."""

NEAR: tuple[tuple[re.Pattern[str], re.Pattern[str], Reader], ...] = (
    (say.NEAR_LAYER, say.NOT_LAYER, _layer),
    (say.NEAR_POSITIVE, say.NOT_STATED, _positive),
    (say.NEAR_POSITION, say.NOT_POSITION, _position),
    (say.NEAR_TRANSFORM, say.NOT_STATED, _transformed),
    (say.NEAR_INVERSION, say.NOT_STATED, _inverted),
    (say.NEAR_POLARITY, say.NOT_STATED, _scores),
    (say.NEAR_NEGATIVE, say.NOT_STATED, _zero),
    (say.NEAR_EVENT, say.NOT_EVENT, _event),
    (say.NEAR_SCALING, say.NOT_SCALING, _rescaled),
    (say.NEAR_WIDTH, say.NOT_WIDTH, _counted),
)
"""By words of a key that is none of these: what it has to have, what it must not have."""

VALUES: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (say.PLACE_IN_MODEL, _layer),
    (say.POOLED, _position),
    (say.MEANS, _scores),
)
"""By the value, where the key says nothing."""
