"""Differences between two sets of named values, in words."""

from __future__ import annotations

from collections.abc import Mapping

from value_steer.records.fields import shown


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """One line for each name whose value is another, old to new; nested names are dotted.

    Args:
        old: What something was made with.
        new: What is asked for now.
    """
    before, now = _flat(old), _flat(new)
    return [
        f"{name}: {_said(before.get(name))} → {_said(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _said(value: object) -> str:
    return "not recorded" if value is None else shown(value)
