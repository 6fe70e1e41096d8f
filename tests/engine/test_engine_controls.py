"""Thresholds that an operator changes in a running engine."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.live import defaults
from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults
from value_steer.engine.controls import set_thresholds
from value_steer.errors import SettingsError


def _table() -> Any:
    named = {"content": replace(defaults(0.2), index=1)}
    abstention = AbstainDefaults(defaults(0.5), 1, named)
    return SimpleNamespace(admit=Admission(abstention, FilterDefaults(defaults(0.6), 8)))


def test_each_head_has_its_own_threshold() -> None:
    """The first one of a mode by the mode's name, another one by its own."""
    table = _table()

    set_thresholds(table, {"vfd": 0.7, "heads": {"content": {"abstain": "never"}}})

    assert table.admit.abstention.head.threshold == 0.5
    assert table.admit.abstention.named["content"].threshold == "never"
    assert table.admit.abstention.named["content"].index == 1
    assert table.admit.filtering.head.threshold == 0.7


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "names no mode"),
        ({"abstain": 2}, r"thresholds\.abstain = 2"),
        (
            {"heads": {"other": {"abstain": 0.1}}},
            r"heads\.other\.abstain: there is no .* that mode has content",
        ),
        (
            {"heads": {"content": {"vfd": 0.1}}},
            r"thresholds\.heads\.content\.vfd: there is no such head; that mode has none",
        ),
        ({"heads": 3}, r"thresholds\.heads = 3: must be an object"),
    ],
)
def test_what_is_wrong_changes_nothing(asked: object, message: str) -> None:
    """Not even the half of it that is right."""
    table = _table()
    before = table.admit
    if isinstance(asked, dict) and asked:
        asked = {"vfd": 0.9, **asked}

    with pytest.raises(SettingsError, match=message):
        set_thresholds(table, asked)

    assert table.admit is before
