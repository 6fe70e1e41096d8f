"""What a client got of a killed server is an answer, the beginning of one, or a broken promise."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from benchmarks.kills.tally import Tally, judge
from benchmarks.soak.client import Answer
from benchmarks.soak.schedule import Template

TEMPLATE = Template(3, "default", {"stream": True}, follows=True)
TOLD: dict[str, Any] = {
    "outcome": "steered",
    "value": 0.9,
    "threshold": 0.5,
    "vfd_threshold": None,
    "no_acceptable": 0,
    "unscored": 0,
}
ALONE = Answer(tokens=[5, 6, 7], finish="length", told=TOLD)


def judged(answer: Answer) -> dict[str, Any]:
    """What it counts as."""
    tally = Tally()
    judge(TEMPLATE, ALONE, answer, tally)
    return {name: value for name, value in asdict(tally).items() if value}


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (ALONE, {"whole": 1}),
        (replace(ALONE, tokens=[5, 6], finish=None, told=None), {"cut": 1}),
        (replace(ALONE, tokens=[], finish=None, told=None), {"cut": 1}),
        (replace(ALONE, tokens=[5, 6], finish="abort", told=None), {"cut": 1}),
        (replace(ALONE, told=None), {"untold": 1}),
        (replace(ALONE, tokens=[9], told={**TOLD, "outcome": "control"}), {"controls": 1}),
    ],
)
def test_what_is_whole_and_what_was_cut(answer: Answer, counts: dict[str, int]) -> None:
    """An answer that was cut says so, by having no end or vLLM's own."""
    assert judged(answer) == counts


@pytest.mark.parametrize(
    "answer",
    [
        replace(ALONE, tokens=[5, 6]),  # it says that it is whole
        replace(ALONE, tokens=[5, 9], finish=None, told=None),
        replace(ALONE, tokens=[5, 9], finish="abort", told=None),
        replace(ALONE, tokens=[5, 6, 9], told=None),
        replace(ALONE, told={**TOLD, "unscored": 1}),
        replace(ALONE, told={**TOLD, "outcome": "abstained"}),
    ],
)
def test_another_answer_is_a_broken_promise(answer: Answer) -> None:
    """Whether it is whole or not."""
    (told,) = judged(answer)["broken"]

    assert told.startswith("template 3 (default): ")
