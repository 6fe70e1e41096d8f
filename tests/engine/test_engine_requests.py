"""The request table knows, at every step of any schedule, which rows are to be judged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.live import TWO_MODES, abstaining, live
from tests.engine.schedules import Job, Params, Scheduler
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


def test_rows_are_laid_out_anew_when_one_is_judged_first() -> None:
    """And not before; a step that is far ahead costs nothing until then."""
    scheduler, table = Scheduler(), RequestTable(abstaining(0.5, 4))
    scheduler.add(Job("a", prompt=2))
    scheduler.add(Job("b", prompt=4))
    table.advance(scheduler.step({"a": 2, "b": 4}))

    changed, judged = [], []
    for _ in range(6):
        changed.append(table.advance(scheduler.step({"a": 1, "b": 1})))
        judged.append([table[name].judged for name in "ab"])

    assert changed == [False, False, False, True, False, False]
    assert judged == [[False, False]] * 3 + [[True, True]] * 3


def test_who_is_left_out_of_a_step_stays_where_it_is() -> None:
    """While the others grow, and when it comes back."""
    scheduler, table = Scheduler(), RequestTable(abstaining(None))
    for name in ("a", "b"):
        scheduler.add(Job(name, prompt=2))
    table.advance(scheduler.step({"a": 2, "b": 2}))
    lengths = []
    for names in ("ab", "ab", "b", "b", "b", "ab", "ab"):
        table.advance(scheduler.step(dict.fromkeys(names, 1)))
        lengths.append([table.length(table[name]) for name in "ab"])

    assert lengths == [[3, 3], [4, 4], [4, 5], [4, 6], [4, 7], [5, 8], [6, 9]]


def test_no_two_live_requests_share_a_slot() -> None:
    """Whoever leaves first; there are no more slots than there were requests at once."""
    scheduler, table = Scheduler(), RequestTable(abstaining(0.5, 1))

    def joins(*names: str) -> None:
        for name in names:
            scheduler.add(Job(name, prompt=2))
        step = scheduler.step(dict.fromkeys(names, 2))
        for gone in step.finished_req_ids:
            dropped = table.drop(gone)
            assert dropped is not None
        table.advance(step)

    joins("a", "b", "c")
    scheduler.finish("a")
    joins("d")
    scheduler.finish("c")
    scheduler.finish("b")
    joins("e", "f")

    assert sorted(table[name].slot for name in table) == [0, 1, 2]
    assert table.get("e") is table["e"]
    assert table.get("a") is table.drop("a") is None


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


@pytest.mark.parametrize(("prompt", "followed"), [(4, True), (6, False)])
def test_who_comes_back_as_a_new_request_is_the_same_one(prompt: int, *, followed: bool) -> None:
    """But for its prompt, which is another one with a session's next piece."""
    scheduler, table = Scheduler(), RequestTable(TWO_MODES)
    for name in ("a", "b"):
        params = Params(extra_args={"steer_test": "intervene"})
        scheduler.add(Job(name, prompt=4, params=params))
    table.advance(scheduler.step({"a": 4, "b": 4}))
    before = table["b"]
    before.followed, before.filtered.holds = True, True
    before.filtered.drawn = (4, 7)
    before.refuses_next = False
    job = scheduler.jobs["b"]
    job.known_to_worker, job.prompt = False, prompt
    scheduler.preempt("b")

    table.advance(scheduler.step({"a": 1, "b": prompt}))

    after = table["b"]
    assert after is not before
    assert (after.slot, after.prompt_length) == (before.slot, prompt)
    assert after.followed is followed
    assert after.filtered.drawn == (4, 7)
    assert (after.refuses_next, table["a"].refuses_next) == (False, True)
    assert not before.filtered.holds, "what it held is lost"


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
