"""Whether and how a request is steered, from what it asks for and what the engine has."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.live import OPENS, TWO_MODES, abstaining, defaults, head_of
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import NEVER
from value_steer.engine.admission import (
    Admission,
    FilterDefaults,
)

if TYPE_CHECKING:
    from value_steer.engine.live_request import LiveRequest


@pytest.mark.parametrize(
    ("params", "threshold", "stop_token"),
    [
        (Params(), 0.5, 1),
        (Params(extra_args={"abstain_threshold": 0.9}), 0.9, 1),
        (Params(extra_args={"abstain_threshold": "never"}), None, 1),
        (Params(extra_args={"steer": False}), None, 1),
        (Params(ignore_eos=True), None, 1),
        (Params(eos_token_id=None, stop_token_ids=[9, 5]), 0.5, 5),
        (Params(eos_token_id=None), None, -1),
        (Params(extra_args={"abstain_threshold": 2}), math.inf, 1),
    ],
    ids=["defaults", "own", "never", "off", "ignores eos", "stop set", "unendable", "refused"],
)
def test_admission(params: Params, threshold: float | None, stop_token: int) -> None:
    """What a request asks for decides whether and how it is steered."""
    scheduler = Scheduler()
    scheduler.add(Job("a", prompt=3, params=params))
    (new,) = scheduler.step({"a": 3}).scheduled_new_reqs

    request = abstaining(0.5, 1)(new, slot=0)

    assert (request.threshold, request.stop_token) == (threshold, stop_token)
    assert (request.refusal is not None) == (threshold == math.inf)


@pytest.mark.parametrize(
    ("extra_args", "threshold", "candidates"),
    [
        (None, 0.25, 8),
        ({"vfd_threshold": 0.75}, 0.75, 8),
        ({"vfd_threshold": NEVER}, None, 8),
        ({"steer": False}, None, 8),
        ({"vfd_num_candidates": 1}, 0.25, 1),
        ({"vfd_alpha": 0.5}, None, 8),
    ],
    ids=["defaults", "own", "never", "off", "own candidates", "not calibrated"],
)
def test_admission_to_filtering(
    extra_args: dict[str, object] | None, threshold: float | None, candidates: int
) -> None:
    """A request is filtered as the engine says, unless it says otherwise itself."""
    scheduler = Scheduler()
    scheduler.add(Job("a", prompt=3, params=Params(extra_args=extra_args)))
    (new,) = scheduler.step({"a": 3}).scheduled_new_reqs

    request = Admission(None, FilterDefaults(defaults(0.25), 8))(new, slot=0)

    assert (request.vfd_threshold, request.candidates) == (threshold, candidates)
    assert (request.refusal is not None) == ("vfd_alpha" in (extra_args or {}))


def _enters(admission: Admission, extra_args: dict[str, Any] | None, **params: Any) -> LiveRequest:
    """A request with a prompt of three tokens, the second of which opens a reasoning section."""
    new: Any = SimpleNamespace(
        req_id="a",
        prompt_token_ids=[5, OPENS, 6],
        prompt_embeds=None,
        sampling_params=Params(extra_args=extra_args, **params),
    )
    return admission(new, 0)


@pytest.mark.parametrize(
    ("name", "abstention", "filtering"),
    [
        (None, (0, 0.5), (0, 0.75)),
        ("code", (1, 0.25), (2, 0.625)),
        ("toxic", (0, 0.5), (1, 0.875)),
    ],
)
def test_a_request_is_scored_by_the_head_that_it_names(
    name: str | None, abstention: tuple[int, float], filtering: tuple[int, float]
) -> None:
    """By its threshold as well; a mode that has none of that name has its first."""
    request = _enters(TWO_MODES, {"steer_head": name} if name else None)

    assert request.refusal is None
    assert (request.head, request.threshold) == abstention
    assert (request.vfd_head, request.vfd_threshold) == filtering


def test_a_mode_that_is_not_enabled_asks_nothing() -> None:
    """Of either kind."""
    abstains = _enters(replace(TWO_MODES, filtering=None), None)
    filters = _enters(replace(TWO_MODES, abstention=None), None)

    assert (abstains.vfd_threshold, abstains.candidates, abstains.vfd_head) == (None, 1, 0)
    assert (filters.threshold, filters.head, filters.unendable) == (None, 0, False)


MESSAGE = "extra_args.abstain_action = 'message': "
NO_ABSTENTION = replace(TWO_MODES, abstention=None)
NO_HEADS = Admission(None, FilterDefaults(head_of(0, 0.75), 4, most=8))


@pytest.mark.parametrize(
    ("admission", "extra_args", "refusal"),
    [
        (
            TWO_MODES,
            {"steer_head": "other"},
            "extra_args.steer_head = 'other': this engine has code, toxic",
        ),
        (
            NO_HEADS,
            {"steer_head": "code"},
            "extra_args.steer_head = 'code': this engine has none; additional_config names them "
            "under heads",
        ),
        (TWO_MODES, {"vfd_num_candidates": 8}, None),
        (
            TWO_MODES,
            {"vfd_num_candidates": 9},
            "extra_args.vfd_num_candidates = 9: this engine allows 8 at most",
        ),
        (NO_ABSTENTION, {"abstain_action": "message"}, MESSAGE + "this engine does not abstain"),
        (
            TWO_MODES,
            {"abstain_action": "message"},
            MESSAGE + "this engine has no additional_config.abstain.message for it",
        ),
        (
            abstaining(0.5, 1),
            {"abstain_action": "end_thinking"},
            "extra_args.abstain_action = 'end_thinking': this engine has no "
            "additional_config.abstain.reasoning_end_token for it",
        ),
    ],
)
def test_what_an_engine_does_not_have_is_refused(
    admission: Admission, extra_args: dict[str, Any], refusal: str | None
) -> None:
    """By the key that asks for it, with what there is."""
    assert _enters(admission, extra_args).refusal == refusal


@pytest.mark.parametrize(
    ("admission", "eos", "unendable"),
    [(TWO_MODES, None, True), (TWO_MODES, 1, False), (NO_HEADS, None, False)],
)
def test_who_cannot_be_ended_is_told_apart(
    admission: Admission, eos: int | None, *, unendable: bool
) -> None:
    """It has no stop token, and there is a mode that would want one."""
    assert _enters(admission, None, eos_token_id=eos).unendable is unendable


@pytest.mark.parametrize(
    ("extra_args", "refuses", "threshold"),
    [
        (None, False, 0.5),
        ({"steer_test": "intervene"}, True, 0.5),
        ({"steer_test": "intervene", "vfd_threshold": NEVER}, False, 0.5),
        ({"steer_test": "abstain"}, False, math.inf),
        ({"steer_test": "abstain", "steer": False}, False, None),
    ],
)
def test_a_request_can_have_itself_tested(
    extra_args: dict[str, Any] | None, *, refuses: bool, threshold: float | None
) -> None:
    """Its first token is refused, or it is ended where it may be; not if it is not steered."""
    request = _enters(TWO_MODES, extra_args)

    assert (request.refuses_next, request.threshold) == (refuses, threshold)
    assert request.refusal is None


@pytest.mark.parametrize(
    ("extra_args", "marks"),
    [(None, (-1, -1)), ({"abstain_action": "end_thinking"}, (1, -1))],
)
def test_the_prompt_is_searched_for_reasoning_where_that_matters(
    extra_args: dict[str, Any] | None, marks: tuple[int, int]
) -> None:
    """To requests that go on once they fire."""
    assert _enters(TWO_MODES, extra_args).reasoning_marks == marks


@pytest.mark.parametrize(("temperature", "greedy"), [(0.0, True), (9e-6, True), (1e-5, False)])
def test_a_request_is_greedy_where_the_host_is(temperature: float, *, greedy: bool) -> None:
    """Its sampler takes the most probable token below that."""
    assert _enters(TWO_MODES, None, temperature=temperature).greedy is greedy


@pytest.mark.parametrize(
    ("asked", "wants"),
    [({}, False), ({"logprobs": 0}, True), ({"logprob_token_ids": [7]}, True)],
)
def test_log_probabilities_are_wanted_by_rank_or_by_token(
    asked: dict[str, Any], *, wants: bool
) -> None:
    """Of the most probable tokens, or of named ones."""
    new = SimpleNamespace(
        req_id="a", prompt_token_ids=[1], prompt_embeds=None, sampling_params=Params(**asked)
    )

    assert abstaining(0.5, 0)(new, 0).wants_logprobs is wants
