"""What the contracts say of one release."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from value_steer.contracts.history import releases, story
from value_steer.contracts.history.releases import Selection, Sweep
from value_steer.contracts.history.snapshot import ContractState, Snapshot
from value_steer.contracts.report import Status
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.surface import Mode, Runner

if TYPE_CHECKING:
    import pytest

ROW = "sampler_output.fields"


def release(version: str, shape: str | None, rule: Rule) -> Snapshot:
    """One row."""
    status = Status.OK if shape else Status.MISSING_SYMBOL
    state = ContractState(ROW, status, "" if shape else "it is gone", shape)
    return Snapshot(version, RunnerDefault(rule), (state,))


HISTORY = (
    release("0.19.0", "fields a", Rule.V1),
    release("0.20.0", "fields a, b", Rule.V2),
    release("0.21.0", "fields a, c", Rule.V2),
    release("0.22.0", None, Rule.V2),
)
FOUND = Sweep((Mode.ABSTAIN,), HISTORY, (), (Runner.V1,))


def until(count: int) -> Sweep:
    """The sweep of the first releases."""
    return replace(FOUND, history=HISTORY[:count])


def test_a_release_that_holds() -> None:
    """What it changed, since when its default holds."""
    told = story.tell(until(3))

    assert list(story.lines(told)) == [
        f"{len(FOUND.rows)} contracts with vLLM 0.21.0, 1 changed since 0.20.0",
        "  static verdict: abstain/v1 hold",
        "  default model runner: v2, since 0.20.0",
        f"  changed in 0.21.0: {ROW}: fields +c -b",
    ]


def test_a_release_that_does_not_hold_says_what_has_to_change() -> None:
    """The broken row, and the function that would have to follow it."""
    text = "\n".join(story.lines(story.tell(FOUND)))

    must = f"[must change: {releases.USED_BY[ROW]}]"
    assert "static verdict: abstain/v1 BROKEN" in text
    assert f"does not hold: {ROW}: it is gone {must}" in text


def test_the_oldest_release_is_compared_with_none() -> None:
    """Nothing is said to have changed."""
    told = story.tell(until(1))

    assert (told.previous, told.changes, told.default_since) == (None, (), "0.19.0")


def test_the_story_as_json() -> None:
    """The same facts for other programs."""
    body = json.loads(json.dumps(story.to_json(story.tell(FOUND))))

    assert body["holds"] == [{"mode": "abstain", "runner": "v1", "holds": False}]
    assert body["broken"][0]["used_by"] == releases.USED_BY[ROW]
    assert body["changes"][0]["must_change"] is True
    assert body["runner_default"]["since"] == "0.20.0"


def test_all_releases_up_to_the_wanted_one_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be told since when something is as it is."""
    asked = []

    def run(selection: Selection, *_: object) -> Sweep:
        asked.append(selection)
        return FOUND

    monkeypatch.setattr(releases, "run", run)

    assert story.story("0.22.0").version == "0.22.0"
    assert asked == [Selection(since="0.19.0", until="0.22.0")]
