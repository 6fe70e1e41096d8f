"""Thresholds that an operator changes in a running engine."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.live import defaults
from value_steer.config import parse_settings
from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults
from value_steer.engine.controls import described, set_thresholds
from value_steer.errors import SettingsError


def _table() -> Any:
    named = {
        name: replace(defaults(0.2), index=i) for i, name in enumerate(("style", "content"), 1)
    }
    abstention = AbstainDefaults(defaults(0.5), 1, named)
    return SimpleNamespace(admit=Admission(abstention, FilterDefaults(defaults(0.6), 8)))


def _modes() -> Any:
    """What an engine of two modes, each with a second head, was configured with."""
    settings = parse_settings(
        {
            "abstain": {
                "value_head_path": "good.pt",
                "min_tokens": 4,
                "patience": 3,
                "action": "end_thinking",
                "heads": {"content": {"value_head_path": "content.pt"}},
            },
            "vfd": {
                "value_head_path": "bad.pt",
                "num_candidates": 5,
                "max_candidates": 9,
                "fallback": "args",
                "heads": {"content": {"value_head_path": "other.pt"}},
            },
        }
    )
    assert settings.abstain is not None
    assert settings.vfd is not None
    abstention, filtering = (
        SimpleNamespace(
            settings=one,
            named={name: SimpleNamespace(settings=head) for name, head in one.heads.items()},
        )
        for one in (settings.abstain, settings.vfd)
    )
    return SimpleNamespace(abstention=abstention, filtering=filtering)


def _admission() -> Admission:
    """What those modes steer by since an operator changed it."""
    named = [{"content": replace(defaults(threshold), index=1)} for threshold in (0.2, 0.9)]
    return Admission(
        AbstainDefaults(defaults(0.5), 1, named[0]),
        FilterDefaults(defaults("never"), 8, named[1]),
    )


def test_an_operator_sees_every_mode_and_head_with_the_threshold_that_applies() -> None:
    """That of the requests that come now, whatever the engine was started with."""
    assert described(_modes(), _admission()) == {
        "abstain": {
            "threshold": 0.5,
            "min_tokens": 4,
            "patience": 3,
            "action": "end_thinking",
            "head": "good.pt",
            "heads": {"content": {"threshold": 0.2, "head": "content.pt"}},
        },
        "vfd": {
            "threshold": "never",
            "num_candidates": 5,
            "max_candidates": 9,
            "fallback": "args",
            "head": "bad.pt",
            "heads": {"content": {"threshold": 0.9, "head": "other.pt"}},
        },
    }


@pytest.mark.parametrize("missing", ["abstain", "vfd"])
def test_a_mode_that_is_not_enabled_is_not_shown(missing: str) -> None:
    """The other one is."""
    modes, admission = _modes(), _admission()
    if missing == "abstain":
        modes.abstention, admission = None, replace(admission, abstention=None)
    else:
        modes.filtering, admission = None, replace(admission, filtering=None)

    assert {"abstain", "vfd"} - described(modes, admission).keys() == {missing}


def test_a_change_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As it was asked for, since it changes what every later request gets."""
    with caplog.at_level("WARNING", "value_steer"):
        set_thresholds(_table(), {"vfd": 0.7})

    assert caplog.messages == ["thresholds changed for the requests that come now: {'vfd': 0.7}"]


def test_each_head_has_its_own_threshold() -> None:
    """The first one of a mode by the mode's name, another one by its own."""
    table = _table()

    set_thresholds(table, {"vfd": 0.7, "heads": {"content": {"abstain": "never"}}})

    assert table.admit.abstention.head.threshold == 0.5
    assert table.admit.abstention.named["content"].threshold == "never"
    assert table.admit.abstention.named["content"].index == 2
    assert table.admit.abstention.named["style"].threshold == 0.2
    assert table.admit.filtering.head.threshold == 0.7


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "names no mode"),
        ({"abstain": 2}, r"thresholds\.abstain = 2"),
        (
            {"heads": {"other": {"abstain": 0.1}}},
            r"heads\.other\.abstain: there is no .* that mode has content, style$",
        ),
        (
            {"heads": {"content": {"vfd": 0.1}}},
            r"thresholds\.heads\.content\.vfd: there is no such head; that mode has none$",
        ),
        ({"heads": {"content": {"abstain": 2}}}, r"thresholds\.heads\.content\.abstain = 2: must"),
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
