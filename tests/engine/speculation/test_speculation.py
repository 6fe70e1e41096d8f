"""A step that gives requests several tokens, on a fake host: where it is cut, and what is told."""

from __future__ import annotations

import itertools
import random
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.engine.live import abstaining, defaults
from tests.engine.speculation.drafting_host import EOS, THRESHOLD, VOCABULARY, Host
from value_steer.config import OnError
from value_steer.engine.admission import AbstainDefaults, Admission, HeadDefaults
from value_steer.engine.delivery.report import Ending, report_of
from value_steer.engine.scoring import Heads
from value_steer.errors import SteeringError
from value_steer.value_probe import HeadCard


def test_the_first_row_that_fires_ends_the_request_and_cuts_the_rest() -> None:
    """Its token becomes the stop token, whatever else was accepted; the other request goes on."""
    host = Host()
    host.add("a")
    host.add("b")
    host.step({"a": [0.0], "b": [0.0]})

    given = host.step({"a": [0.9, 0.1, 0.9, 0.1], "b": [0.9, 0.9]})

    assert given == {"a": [5, EOS], "b": [5, 5]}
    assert host.endings == {"a": Ending.ABSTAINED}
    ended, other = (
        host.ledger.close("a", Ending.ABSTAINED, 3, 0.0),
        host.ledger.close("b", None, 3, 0.0),
    )
    assert ended is not None
    assert other is not None
    assert (ended.judged, other.judged) == (2, 2)
    assert (ended.value, ended.lowest) == pytest.approx((0.1, 0.1))


def test_a_row_behind_a_rejected_draft_ends_nothing() -> None:
    """Its token is not given out, so what the head says of it is of another sequence."""
    host = Host()
    host.add("a", extra_args={"steer_values": True})
    host.step({"a": [0.0]})

    given = host.step({"a": [0.9, 0.8, 0.1, 0.1]}, {"a": 1})
    more = host.step({"a": [0.7, 0.1]})

    assert (given, more) == ({"a": [5, 5]}, {"a": [5, EOS]})
    outcome = host.ledger.close("a", Ending.ABSTAINED, 5, 0.0)
    assert outcome is not None
    assert outcome.values == pytest.approx((0.9, 0.8, 0.7, 0.1))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_drafts_change_nothing(seed: int, *, ahead: bool) -> None:
    """However many are made and accepted, a request ends where it would without any."""
    draw = random.Random(seed)  # noqa: S311  (test data)
    patience, least = draw.randint(1, 3), draw.choice((0, 0, 4))
    values = [draw.random() for _ in range(24)]
    host = Host(patience=patience, ahead=ahead)
    host.add("a", extra_args={"steer_values": True}, min_tokens=least)
    host.add("b", extra_args={"steer": False})
    host.step({"a": [values[0]], "b": [0.0]})
    tokens = [5]
    while EOS not in tokens and len(tokens) < len(values):
        drafts = draw.randint(0, min(3, len(values) - len(tokens) - 1))
        seen = values[len(tokens) : len(tokens) + drafts + 1]
        rows = {"a": seen, "b": [0.0] * draw.randint(1, 3)}
        if draw.random() < 0.2:
            del rows["b"]
        tokens += host.step(rows, {"a": draw.randint(0, drafts), "b": 0})["a"]

    expected, run = [5], 0
    for count, value in enumerate(values[1:], start=1):
        run = run + 1 if value < THRESHOLD and count >= least else 0
        expected.append(EOS if run == patience else 5)
        if run == patience:
            break
    assert tokens == expected
    outcome, other = (host.ledger.close(name, None, len(tokens), 0.0) for name in "ab")
    assert outcome is not None
    assert other is not None
    assert outcome.values == pytest.approx(tuple(values[max(1, least) : len(tokens)]))
    assert (other.judged, other.value) == (0, None), "it is not steered"


def test_a_grammar_that_forbids_the_stop_token_lets_the_next_row_end() -> None:
    """Each row has a mask of its own."""
    host = Host()
    host.add("a", structured_outputs=object())
    host.step({"a": [0.0]})
    logits = torch.zeros(3, VOCABULARY)
    logits[0, EOS] = -torch.inf

    assert host.step({"a": [0.1, 0.1, 0.1]}, logits=logits) == {"a": [5, EOS]}


def test_what_the_request_ended_with_before_is_not_counted() -> None:
    """The scheduler takes tokens up to a stop of the request's own, and counts as many values."""
    host = Host()
    host.add("a")
    host.step({"a": [0.0]})
    host.steering.begin(host._message({"a": 2}))
    host.rows = ["a"]
    output: Any = SimpleNamespace(
        sampled_token_ids=torch.tensor([[5, 6, 7]], dtype=torch.int32), logprobs_tensors=None
    )
    host.steering(lambda: output, torch.zeros(3, VOCABULARY), torch.tensor([[0.9], [0.8], [0.1]]))
    delivery = host.steering.delivery
    assert delivery is not None
    out: Any = SimpleNamespace(req_ids=["a"], sampled_token_ids=[[5, 6, EOS]], logprobs=None)
    report = report_of(host.outbox.pass_on(out, delivery))
    assert report is not None
    span = report.spans["a"]

    host.ledger.take_span("a", span, 2)

    outcome = host.ledger.close("a", None, 3, 0.0)
    assert span.ends == 2
    assert outcome is not None
    assert outcome.judged == 2
    assert outcome.value == pytest.approx(0.8)


def test_other_rows_than_the_step_has_stop_it() -> None:
    """Whether of the logits or of the feature."""
    host = Host()
    host.add("a")
    host.step({"a": [0.0]})
    host.steering.begin(host._message({"a": 1}))
    with pytest.raises(SteeringError, match="3 rows for 2 drafts and requests"):
        host.steering(lambda: None, torch.zeros(3, VOCABULARY), None)

    output: Any = SimpleNamespace(
        sampled_token_ids=torch.tensor([[5, 5]], dtype=torch.int32), logprobs_tensors=None
    )
    with pytest.raises(SteeringError, match="gave 1 hidden states for 2 sampled rows"):
        host.steering(lambda: output, torch.zeros(2, VOCABULARY), torch.zeros(1, 1))
    with pytest.raises(SteeringError, match="gave none hidden states for 2 sampled rows"):
        host.steering(lambda: output, torch.zeros(2, VOCABULARY), None)


def _table(lines: int) -> Any:
    """What the host says of a step: of each place in its table of tokens, that token and 7."""
    return SimpleNamespace(
        logprob_token_ids=torch.tensor([[5, 7]] * lines),
        logprobs=torch.tensor([[-9.0, -8.0]] * lines),
        selected_token_ranks=torch.tensor([4] * lines),
    )


def test_a_stop_token_that_is_put_in_has_its_own_log_probability_and_rank() -> None:
    """That of its row of the logits, at its place in the host's table; all else stays."""
    host = Host()
    host.add("a", logprobs=1, eos_token_id=0)
    host.add("b", logprobs=1)
    host.step({"a": [0.0], "b": [0.0]})
    logits = torch.randn(5, VOCABULARY, generator=torch.Generator().manual_seed(0))
    table = _table(6)

    given = host.step({"a": [0.1, 0.9], "b": [0.9, 0.1, 0.1]}, logits=logits, table=table)

    assert given == {"a": [0], "b": [5, EOS]}
    untouched = _table(6)
    changed = {0: (0, 0), 4: (3, EOS)}  # by place: the row of the logits, and the token
    for place in range(6):
        row, token = changed.get(place, (None, 5))
        assert table.logprob_token_ids[place].tolist() == [token, 7]
        if row is None:
            assert table.logprobs[place].tolist() == untouched.logprobs[place].tolist()
            assert table.selected_token_ranks[place] == 4
            continue
        own = logits[row].log_softmax(0)[token]
        assert table.logprobs[place].tolist() == pytest.approx([float(own), -8.0])
        assert table.selected_token_ranks[place] == (logits[row] >= logits[row, token]).sum()


@pytest.mark.parametrize("whole", [False, True])
def test_a_table_that_names_no_token_is_left_alone(*, whole: bool) -> None:
    """One of the whole vocabulary, in its own order; nor does it matter if there is none."""
    host = Host()
    host.add("a", logprobs=1)
    host.step({"a": [0.0]})
    table = SimpleNamespace(
        logprob_token_ids=torch.empty(0),
        logprobs=torch.zeros(2, VOCABULARY),
        selected_token_ranks=torch.empty(0),
    )

    assert host.step({"a": [0.1, 0.1]}, table=table if whole else None) == {"a": [EOS]}
    assert not table.logprobs.any()


def test_each_request_is_scored_by_the_head_that_it_names() -> None:
    """In each of its rows, however many the others have."""
    host = Host()
    named = {"other": HeadDefaults(1, THRESHOLD, HeadCard(1))}
    host.steering.table.admit = Admission(AbstainDefaults(defaults(THRESHOLD), 1, named))
    host.steering._judge._score = Heads([lambda f: f[:, 0], lambda f: 1.0 - f[:, 0]])
    host.add("a", extra_args={"steer_head": "other"})
    host.add("b")
    host.step({"a": [0.0], "b": [0.0]})

    assert host.step({"a": [0.1, 0.9], "b": [0.9, 0.9, 0.1]}) == {"a": [5, EOS], "b": [5, 5, EOS]}


@pytest.mark.parametrize("ahead", [False, True])
def test_a_partial_prefill_is_not_judged(*, ahead: bool) -> None:
    """The host discards its token, which says nothing of how far the request is."""
    host = Host(ahead=ahead)
    host.steering.table.admit = abstaining(THRESHOLD, min_tokens=0)
    host.add("a", extra_args={"steer_values": True})
    host.add("b")
    host.step({"a": [0.1], "b": [0.9]}, {"a": -1}, prefill={"a": 2})

    assert host.step({"a": [0.7], "b": [0.9, 0.9]}) == {"a": [5], "b": [5, 5]}
    assert host.step({"a": [0.9, 0.8], "b": [0.9]}) == {"a": [5, 5], "b": [5]}
    assert host.step({"a": [0.3], "b": [0.1]}) == {"a": [EOS], "b": [EOS]}
    outcome = host.ledger.close("a", Ending.ABSTAINED, 4, 0.0)
    assert outcome is not None
    assert outcome.values == pytest.approx((0.7, 0.9, 0.8, 0.3))


@pytest.mark.parametrize("cause", ["preemption", "empty step"])
def test_what_was_rejected_before_a_causeis_known_to_the_scheduler(cause: str) -> None:
    """From then on it counts from where the request stands."""
    host = Host(ahead=True)
    host.add("a", extra_args={"steer_values": True})
    host.step({"a": [0.0]})
    host.step({"a": [0.9, 0.8, 0.7]}, {"a": 0})
    host._rejected.clear()
    if cause == "preemption":
        host.scheduler.preempt("a")
    else:
        host.steering.begin(host._message({}))

    assert host.step({"a": [0.6, 0.1]}) == {"a": [5, EOS]}
    outcome = host.ledger.close("a", Ending.ABSTAINED, 4, 0.0)
    assert outcome is not None
    assert outcome.values == pytest.approx((0.9, 0.6, 0.1))


def test_a_request_that_is_refused_ends_at_once() -> None:
    """And says why."""
    host = Host()
    host.add("a", extra_args={"abstain_threshold": 7})

    assert host.step({"a": [0.9]}) == {"a": [EOS]}
    assert host.endings == {"a": Ending.REFUSED}


def test_patience_counts_for_one_request_alone() -> None:
    """Even where a request is judged first at the position behind its predecessor's last."""
    host = Host(patience=2)
    host.add("a")
    host.step({"a": [0.9]})
    host.step({"a": [0.1]})
    host.scheduler.finish("a")
    host.add("b", extra_args={"steer_values": True}, min_tokens=2)
    host.step({"b": [0.9]})

    assert host.step({"b": [0.9, 0.1, 0.1]}) == {"b": [5, 5, EOS]}


def test_the_time_of_the_hosts_own_sampling_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is counted is what steering costs."""
    host = Host()
    host.add("a")
    clock = itertools.count(1000)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    host.steering.begin(host._message({"a": 0}))
    host.rows = ["a"]

    def sample() -> Any:
        for _ in range(100):
            time.perf_counter()
        sampled = torch.full((1, 1), 5, dtype=torch.int32)
        return SimpleNamespace(sampled_token_ids=sampled, logprobs_tensors=None)

    host.steering(sample, torch.zeros(1, VOCABULARY), torch.zeros(1, 1))

    assert host.steering.delivery is not None
    assert host.steering.delivery.report.seconds == 2


def test_passthrough_serves_what_was_accepted() -> None:
    """The operator's choice: unsteered, and counted."""
    host = Host(on_error=OnError.PASSTHROUGH)
    host.add("a")
    host.step({"a": [0.0]})
    host.steering._judge._score = Heads([lambda _: torch.zeros(0)])

    assert host.step({"a": [0.1, 0.1]}) == {"a": [5, 5]}
    assert host.ledger.counters.swallowed_errors == 1
