"""The request table knows, at every step of any schedule, which rows are to be judged."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.live import abstaining, defaults, live
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import NEVER
from value_steer.engine.admission import Admission, FilterDefaults
from value_steer.engine.requests import RequestTable


def _judged(table: RequestTable, request_id: str) -> bool:
    """Whether a row is judged, as the rows laid out last say; they hold until told otherwise."""
    return table[request_id].judged


@st.composite
def _runs(draw: st.DrawFn) -> list[tuple[str, int]]:
    """A random history: (action, operand) pairs that the test interprets."""
    actions = st.sampled_from(["add", "step", "step", "step", "step", "preempt", "finish"])
    return draw(st.lists(st.tuples(actions, st.integers(0, 9)), min_size=5, max_size=60))


@settings(max_examples=300, deadline=None)
@given(_runs(), st.integers(0, 4), st.integers(1, 7))
def test_judged_rows_follow_any_schedule(
    history: list[tuple[str, int]], min_tokens: int, chunk: int
) -> None:
    """Arrivals, chunks, preemptions and ends in any order: the judged rows are the right ones."""
    scheduler = Scheduler()
    table = RequestTable(abstaining(0.5, min_tokens))
    laid_out: dict[str, bool] = {}
    for count, (action, operand) in enumerate(history):
        names = list(scheduler.jobs)
        if action == "add":
            params = Params(min_tokens=operand % 3, ignore_eos=operand == 9)
            scheduler.add(Job(f"r{count}", prompt=operand + 1, params=params))
        elif names and action == "preempt":
            scheduler.preempt(names[operand % len(names)])
        elif names and action == "finish":
            scheduler.finish(names[operand % len(names)])
        elif names:
            # Some requests pause; the rest run on, prompts in chunks.
            scheduled = [n for i, n in enumerate(names) if operand != 8 or i % 2 == 0]
            tokens = {
                n: min(chunk, scheduler.jobs[n].length - scheduler.jobs[n].computed)
                for n in scheduled
            }
            expected = {n: _expected(scheduler.jobs[n], tokens[n], min_tokens) for n in scheduled}
            step = scheduler.step(tokens)
            for request_id in step.finished_req_ids:
                table.drop(request_id)
            if table.advance(step):
                laid_out = {n: _judged(table, n) for n in scheduled}
            assert {n: laid_out[n] for n in scheduled} == expected


@settings(max_examples=300, deadline=None)
@given(_runs(), st.integers(1, 7), st.sampled_from([None, 0.5]))
def test_lengths_are_known_though_requests_repeat_steps(
    history: list[tuple[str, int]], chunk: int, threshold: float | None
) -> None:
    """Whoever repeats a step in whatever batch, every length is the scheduler's own."""
    scheduler = Scheduler()
    table = RequestTable(abstaining(threshold, 0))
    for count, (action, operand) in enumerate(history):
        names = list(scheduler.jobs)
        if action == "add":
            scheduler.add(Job(f"r{count}", prompt=operand + 1))
        elif names and action == "preempt":
            scheduler.preempt(names[operand % len(names)])
        elif names and action == "finish":
            scheduler.finish(names[operand % len(names)])
        elif names:
            left = {n: scheduler.jobs[n].length - scheduler.jobs[n].computed for n in names}
            step = scheduler.step({n: min(chunk, tokens) for n, tokens in left.items()})
            for request_id in step.finished_req_ids:
                table.drop(request_id)
            table.advance(step)
            complete = [n for n in names if left[n] <= chunk]
            assert [n for n in names if table[n].complete] == complete
            for name in names:
                assert table[name].length + table.age == scheduler.jobs[name].computed
            for name in complete[: operand // 3]:
                table.repeat(table[name])
                scheduler.withhold(name)


def test_a_repeated_step_is_recognised_where_nothing_is_judged() -> None:
    """With abstention a state is judged once, so there the rows are laid out again."""
    for threshold, expected in ((None, [False, False]), (0.5, [True, True])):
        scheduler, table = Scheduler(), RequestTable(abstaining(threshold, 0))
        scheduler.add(Job("a", prompt=2))
        scheduler.add(Job("b", prompt=2))
        table.advance(scheduler.step({"a": 2, "b": 2}))
        table.advance(scheduler.step({"a": 1, "b": 1}))
        changed = []
        for _ in expected:
            table.repeat(table["a"])
            scheduler.withhold("a")
            changed.append(table.advance(scheduler.step({"a": 1, "b": 1})))
        assert changed == expected


def _expected(job: Job, tokens: int, min_tokens: int) -> bool:
    length = job.computed + tokens
    response = length - job.prompt
    earliest = max(min_tokens, job.params.min_tokens)
    return length == job.length and response >= earliest and not job.params.ignore_eos


def test_a_steady_batch_is_recognised() -> None:
    """Once all prompts are in, further steps change nothing and only grow the age."""
    scheduler, table = Scheduler(), RequestTable(abstaining(0.5, 1))
    for name in ("a", "b"):
        scheduler.add(Job(name, prompt=4))
    assert table.advance(scheduler.step({"a": 4, "b": 4}))

    changed = [table.advance(scheduler.step({"a": 1, "b": 1})) for _ in range(5)]

    assert changed == [True, False, False, False, False]
    assert table.age == 4


def test_slots_are_reused() -> None:
    """A finished request's slot goes to the next one, so slots stay as few as live requests."""
    scheduler, table = Scheduler(), RequestTable(abstaining(0.5, 1))
    for number in range(20):
        scheduler.add(Job(f"r{number}", prompt=2))
        step = scheduler.step({f"r{number}": 2})
        for request_id in step.finished_req_ids:
            table.drop(request_id)
        table.advance(step)
        assert table[f"r{number}"].slot <= 1
        scheduler.finish(f"r{number}")


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


def test_a_search_survives_a_preemption_and_a_held_token_does_not() -> None:
    """Whether the request comes back under its id or as a new one, as Model Runner V2 has it."""
    for comes_back_as_new in (False, True):
        scheduler, table = Scheduler(), RequestTable(abstaining(0.5, 1))
        scheduler.add(Job("a", prompt=4))
        table.advance(scheduler.step({"a": 4}))
        search: Any = object()
        table["a"].filtered.search, table["a"].filtered.holds = search, True
        scheduler.jobs["a"].known_to_worker = not comes_back_as_new
        scheduler.preempt("a")

        table.advance(scheduler.step({"a": 5}))

        assert table["a"].filtered.search is search
        assert not table["a"].filtered.holds
        assert (list(table), len(table)) == (["a"], 1)


def test_thresholds_that_change_leave_running_requests_alone() -> None:
    """Those of Model Runner V2 come back as new ones after a preemption."""
    scheduler = Scheduler()
    table = RequestTable(abstaining(0.25, 0))
    scheduler.add(Job("a", prompt=3))
    table.advance(scheduler.step({"a": 3}))
    table.admit = abstaining(0.75, 0)
    scheduler.preempt("a")
    scheduler.add(Job("b", prompt=3))
    scheduler.jobs["a"].known_to_worker = False
    table.advance(scheduler.step({"a": 3, "b": 3}))

    assert (table["a"].threshold, table["b"].threshold) == (0.25, 0.75)
    table.drop("a")
    scheduler.add(Job("a", prompt=3))
    table.advance(scheduler.step({"a": 3}))
    assert table["a"].threshold == 0.75


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


def test_a_grammar_waits_until_the_held_token_is_known_to_it() -> None:
    """Its mask is of the sequence without that token, so it cannot say whether one may end."""
    for constrained, holds, judged in (
        (True, False, True),
        (True, True, False),
        (False, True, True),
    ):
        request = live(threshold=0.5, constrained=constrained)
        request.filtered.holds = holds
        assert request.judged is judged


def test_what_abstention_has_ended_is_not_judged_again() -> None:
    """Its stop token is held; a token that a search settled for is judged by abstention yet."""
    for search, judged in (
        (None, False),
        (SimpleNamespace(ends=False), True),
        (SimpleNamespace(ends=True), False),
    ):
        request: Any = live(threshold=0.5)
        request.filtered.decided, request.filtered.search = True, search
        assert request.judged is judged
