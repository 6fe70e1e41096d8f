"""The request table knows, at every step of any schedule, which rows are to be judged."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.live import abstaining, defaults, live
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import NEVER
from value_steer.engine.admission import (
    AbstainDefaults,
    Admission,
    FilterDefaults,
    HeadDefaults,
)
from value_steer.engine.forcing.scripts import Reasoning, Scripts
from value_steer.engine.requests import RequestTable

if TYPE_CHECKING:
    from value_steer.engine.live_request import LiveRequest


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


OPENS, CLOSES = 2, 3


def _enters(admission: Admission, extra_args: dict[str, Any] | None, **params: Any) -> LiveRequest:
    """A request with a prompt of three tokens, the second of which opens a reasoning section."""
    new: Any = SimpleNamespace(
        req_id="a",
        prompt_token_ids=[5, OPENS, 6],
        prompt_embeds=None,
        sampling_params=Params(extra_args=extra_args, **params),
    )
    return admission(new, 0)


def _head(index: int, threshold: float) -> HeadDefaults:
    return replace(defaults(threshold), index=index)


TWO_MODES = Admission(
    AbstainDefaults(
        _head(0, 0.5),
        1,
        {"code": _head(1, 0.25)},
        scripts=Scripts(Reasoning(OPENS, CLOSES, (CLOSES,))),
    ),
    FilterDefaults(_head(0, 0.75), 4, {"toxic": _head(1, 0.875), "code": _head(2, 0.625)}, most=8),
)


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
NO_HEADS = Admission(None, FilterDefaults(_head(0, 0.75), 4, most=8))


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
