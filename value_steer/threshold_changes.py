"""Changes of the thresholds of a running engine, as an operator asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.errors import SettingsError
from value_steer.records.fields import THRESHOLD, Field, listed, read, shown_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from value_steer.threshold import Threshold

EXAMPLE = '{"abstain": 0.4}'


@dataclass(frozen=True, slots=True)
class ThresholdChange:
    """A threshold for the requests that come from now on.

    Attributes:
        mode: ``abstain`` or ``vfd``.
        head: Name of the head; ``None`` for the first one of the mode.
        threshold: The new one.
    """

    mode: str
    head: str | None
    threshold: Threshold


def parse_changes(
    asked: object, heads: Mapping[str, Collection[str]]
) -> tuple[ThresholdChange, ...]:
    """Read an object that names modes and, under ``heads``, modes by the name of a head.

    Args:
        asked: What was parsed from JSON.
        heads: Enabled mode to the names of its further heads.

    Raises:
        SettingsError: Lists every problem.
    """
    problems: list[str] = []
    values = read(asked, _FIELDS, "thresholds", problems)
    named = values.pop("heads", {})
    changes = [ThresholdChange(mode, None, threshold) for mode, threshold in values.items()]
    for name, body in named.items():
        own = read(body, _MODES, f"thresholds.heads.{shown_key(name)}", problems)
        changes += [ThresholdChange(mode, name, threshold) for mode, threshold in own.items()]
    if not changes and not problems:
        problems.append(f"thresholds: names no mode; an example is {EXAMPLE}")
    problems += [problem for change in changes if (problem := _problem(change, heads))]
    if problems:
        raise SettingsError(listed(problems))
    return tuple(changes)


def _problem(change: ThresholdChange, heads: Mapping[str, Collection[str]]) -> str | None:
    """Why a change has nothing to change."""
    if change.mode not in heads:
        return f"thresholds.{change.mode}: this engine does not have that mode enabled"
    if change.head is not None and change.head not in heads[change.mode]:
        there = ", ".join(sorted(heads[change.mode])) or "none"
        at = f"thresholds.heads.{shown_key(change.head)}.{change.mode}"
        return f"{at}: there is no such head; that mode has {there}"
    return None


_MODES = {"abstain": THRESHOLD, "vfd": THRESHOLD}
_FIELDS = {
    **_MODES,
    "heads": Field(lambda value: isinstance(value, Mapping), "an object of heads by name"),
}
