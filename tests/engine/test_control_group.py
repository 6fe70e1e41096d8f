"""Which requests belong to the control group, and what that makes of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.engine.live import defaults
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import NEVER, AbstainAction
from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults

if TYPE_CHECKING:
    from value_steer.engine.live_request import LiveRequest


def _admitted(share: float = 1.0, job: Job | None = None, **new: object) -> LiveRequest:
    scheduler = Scheduler()
    scheduler.add(job or Job("a", prompt=3))
    (asked,) = scheduler.step({"a": 3}).scheduled_new_reqs
    vars(asked).update(new)
    abstention = AbstainDefaults(defaults(0.5), min_tokens=4, action=AbstainAction.END_THINKING)
    return Admission(abstention, FilterDefaults(defaults(0.25), 8), share)(asked, slot=0)


def test_a_control_is_judged_in_full_and_not_acted_on() -> None:
    """From the prompt on, by its own thresholds as far as anybody is told, and it never fires."""
    control, steered = _admitted(), _admitted(share=0.0)

    assert (control.control, steered.control) == (True, False)
    assert (control.threshold, control.vfd_threshold) == (0.5, 0.25)
    assert (control.fires_below, control.refuses_from) == (-math.inf, math.inf)
    assert (steered.fires_below, steered.refuses_from) == (0.5, 0.25)
    assert (control.first_judged, steered.first_judged) == (3, 7)
    assert (control.action, control.reasoning_marks) == (AbstainAction.END, (-1, -1))
    assert steered.action is AbstainAction.END_THINKING
    assert not control.keeps_values, "its caller did not ask for them"


@pytest.mark.parametrize(
    ("extra_args", "control"),
    [
        ({"steer_values": True}, True),
        ({"vfd_num_candidates": 2}, True),
        ({"abstain_action": "end_thinking"}, False),  # refused: it cannot be said here
        ({"steer": False}, False),
        ({"steer_test": "abstain"}, False),
        ({"steer_test": "intervene"}, False),
        ({"abstain_threshold": 0.5}, False),
        ({"abstain_threshold": NEVER}, False),
        ({"vfd_threshold": 0.25}, False),
        ({"vfd_alpha": 0.5}, False),
        ({"abstain_treshold": 0.5}, False),
    ],
)
def test_who_says_how_it_is_steered_is_no_control(
    extra_args: dict[str, object], *, control: bool
) -> None:
    """Nor who is refused, or left alone."""
    request = _admitted(job=Job("a", 3, Params(extra_args=extra_args)))

    assert request.control is control


def test_what_cannot_be_recorded_is_no_control() -> None:
    """Prompts that are no tokens, and answers whose end the scheduler does not see."""
    assert not _admitted(job=Job("a", 3, Params(stop=["."]))).control
    assert not _admitted(prompt_token_ids=None, prompt_embeds=[0, 0, 0]).control
    assert not _admitted(prompt_embeds=[0, 0, 0]).control


def test_who_only_one_mode_may_act_on_is_a_control_of_that_one() -> None:
    """A request without a stop token is not judged by abstention in either case."""
    request = _admitted(job=Job("a", 3, Params(eos_token_id=None)))

    assert request.control
    assert (request.threshold, request.vfd_threshold) == (None, 0.25)
