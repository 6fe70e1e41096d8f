"""What the contracts say of one release."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from value_steer import compat_story, compat_sweep
from value_steer.compat_sweep import Selection, Sweep
from value_steer.contracts.report import Status
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.snapshot import Snapshot, Standing
from value_steer.contracts.surface import Mode, Runner
from value_steer.contracts.watch import Sighting
from value_steer.contracts.watched import WATCHES

if TYPE_CHECKING:
    import pytest

ROW = "sampler_output.fields"
WATCH = WATCHES[0]


def release(version: str, shape: str | None, rule: Rule, seen: str) -> Snapshot:
    """One row, one watch."""
    status = Status.OK if shape else Status.MISSING_SYMBOL
    standing = Standing(ROW, status, "" if shape else "it is gone", shape)
    sighting = Sighting(WATCH.id, "a.py, f", seen)
    return Snapshot(version, RunnerDefault(rule), (standing,), (sighting,))


HISTORY = (
    release("0.19.0", "fields a", Rule.V1, "(2, n)"),
    release("0.20.0", "fields a, b", Rule.V2, "(n, 2)"),
    release("0.21.0", "fields a, c", Rule.V2, "(n, 2)"),
    release("0.22.0", None, Rule.V2, "(n, 4)"),
)
FOUND = Sweep((Mode.ABSTAIN,), HISTORY, (), (Runner.V1,))


def until(count: int) -> Sweep:
    """The sweep of the first releases."""
    return replace(FOUND, history=HISTORY[:count])


def test_a_release_that_holds() -> None:
    """What it changed, since when its default holds, and what is none of value-steer's business."""
    told = compat_story.tell(until(3))

    assert list(compat_story.lines(told)) == [
        f"{len(FOUND.rows)} contracts with vLLM 0.21.0, 1 changed since 0.20.0",
        "  static verdict: abstain/v1 hold",
        "  default model runner: v2, since 0.20.0",
        f"  changed in 0.21.0: {ROW}: fields +c -b",
        f"  not bound to: {WATCH.id}, changed in 0.20.0: (2, n) → (n, 2)",
        f"    {WATCH.why}",
    ]


def test_a_release_that_does_not_hold_says_what_has_to_change() -> None:
    """The broken row, and the function that would have to follow it."""
    text = "\n".join(compat_story.lines(compat_story.tell(FOUND)))

    must = f"[must change: {compat_sweep.USED_BY[ROW]}]"
    assert "static verdict: abstain/v1 BROKEN" in text
    assert f"does not hold: {ROW}: it is gone {must}" in text
    assert f"not bound to: {WATCH.id}, changed in 0.22.0: (n, 2) → (n, 4)" in text


def test_the_oldest_release_is_compared_with_none() -> None:
    """Nothing is said to have changed."""
    told = compat_story.tell(until(1))

    assert (told.previous, told.changes, told.default_since) == (None, (), "0.19.0")
    assert f"not bound to: {WATCH.id}, as in 0.19.0: (2, n)" in "\n".join(compat_story.lines(told))


def test_the_story_as_json() -> None:
    """The same facts for other programs."""
    body = json.loads(json.dumps(compat_story.to_json(compat_story.tell(FOUND))))

    assert body["holds"] == [{"mode": "abstain", "runner": "v1", "holds": False}]
    assert body["broken"][0]["used_by"] == compat_sweep.USED_BY[ROW]
    assert body["changes"][0]["must_change"] is True
    assert body["runner_default"]["since"] == "0.20.0"
    assert body["not_bound_to"] == [
        {
            "id": WATCH.id,
            "why": WATCH.why,
            "since": "0.22.0",
            "place": "a.py, f",
            "seen": "(n, 4)",
        }
    ]


def test_all_releases_up_to_the_wanted_one_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be told since when something is as it is."""
    asked = []

    def run(selection: Selection, *_: object) -> Sweep:
        asked.append(selection)
        return FOUND

    monkeypatch.setattr(compat_sweep, "run", run)

    assert compat_story.story("0.22.0").version == "0.22.0"
    assert asked == [Selection(since="0.19.0", until="0.22.0")]
