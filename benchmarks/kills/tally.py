"""Tallies of a kill: answers that are whole, answers that were cut, and promises broken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks.soak.comparison import difference, left, unjudged

if TYPE_CHECKING:
    from benchmarks.soak.client import Answer
    from benchmarks.soak.schedule import Template

_ABORTED = "abort"
"""Why an answer ended that vLLM gave up when it was ended itself."""


@dataclass
class Tally:
    """The tally of a kill.

    Attributes:
        whole: Answers that came to their end, and are the ones that are given alone.
        told: Requests whose clients got an error.
        cut: Answers that ended early, and did not pretend to be whole.
        untold: Whole ones that came without what became of them, since nobody was left to ask.
        controls: Answers of the control group.
        waiting: Clients that had not heard of the end by then.
        remaining: Processes that were still there.
        broken: Promises that did not hold.
    """

    whole: int = 0
    told: int = 0
    cut: int = 0
    untold: int = 0
    controls: int = 0
    waiting: int = 0
    remaining: int = 0
    broken: list[str] = field(default_factory=list)


def judge(template: Template, expected: Answer, answer: Answer, tally: Tally) -> None:
    """Count an answer: it is whole, or the beginning of one that does not say it ended."""
    if is_control(answer):
        tally.controls += 1
        return
    if answer.finish == _ABORTED:
        answer = replace(answer, finish=None)
    if left(answer):
        tally.cut += 1
    elif answer.told is None and expected.told is not None:
        tally.untold += 1
        expected = replace(expected, told=None)
    else:
        tally.whole += 1
    why = difference(expected, answer)
    if why is None and answer.told is not None:
        why = unjudged(answer)
    if why is not None:
        tally.broken.append(f"template {template.number} ({template.kind}): {why}")


def is_control(answer: Answer) -> bool:
    """Whether a request was of the control group, which is judged and not acted on."""
    return answer.told is not None and answer.told["outcome"] == "control"
