"""One step from end to end, on a fake host: what fires, what is recorded, what fails how."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.engine.live import defaults
from tests.engine.steering_host import EOS, HIDDEN, VOCABULARY, Host, sampled
from value_steer.config import AbstainAction, OnError
from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults, HeadDefaults
from value_steer.engine.delivery.report import Admitted, Ending
from value_steer.engine.forcing.scripts import Reasoning, Scripts
from value_steer.errors import SteeringError
from value_steer.value_probe import HeadCard

if TYPE_CHECKING:
    from torch import Tensor


def _other(threshold: float) -> HeadDefaults:
    """Of the second head of a mode."""
    return HeadDefaults(1, threshold, HeadCard(HIDDEN))


def test_a_row_ends_when_its_value_falls_below_the_threshold() -> None:
    """The prompt is not judged by default; after that, the low row ends and the other goes on."""
    host = Host()
    host.add("a")
    host.add("b")

    assert host.step({"a": 0.1, "b": 0.9}) == [5, 5]
    assert host.step({"a": 0.1, "b": 0.9}) == [EOS, 5]


def test_a_request_ends_with_a_stop_token_of_its_own() -> None:
    """Whichever that is: token 0, or one of a vocabulary that no model has yet."""
    host = Host()
    tokens = {"a": 0, "b": 9, "c": 2**24 + 1}
    for name, token in tokens.items():
        host.add(name, eos_token_id=token)
    host.step(dict.fromkeys(tokens, 0.9))

    assert host.step(dict.fromkeys(tokens, 0.1)) == list(tokens.values())


def test_each_request_is_scored_by_the_head_that_it_names() -> None:
    """And has the threshold of that one; the others of the batch have theirs."""
    host = Host()
    named = AbstainDefaults(defaults(0.5), 1, {"other": _other(0.25)})
    host.steering.table.admit = Admission(named)
    names = {"a": "other", "b": None, "c": "other", "d": None}
    for name, head in names.items():
        host.add(name, extra_args={"steer_head": head} if head else None)
    host.step(dict.fromkeys(names, 0.9))
    host.steering.begin(host.scheduler.step(dict.fromkeys(names, 1)))
    feature = torch.tensor([[0.1, 0.3], [0.4, 0.9], [0.9, 0.2], [0.6, 0.1]])

    assert host.sample(feature) == [5, EOS, EOS, 5]


def test_a_partial_prefill_is_not_judged() -> None:
    """A chunk that does not reach the end of the prompt says nothing about the response."""
    host = Host()
    host.add("a")
    host.add("b")
    host.step({"a": 0.9}, {"a": 3})

    assert host.step({"a": 0.1, "b": 0.1}, {"a": 1, "b": 2}) == [EOS, 5]


def test_patience_waits_for_consecutive_tokens() -> None:
    """Three tokens below in a row end a request; a good one in between starts the count over."""
    host = Host(patience=3)
    host.add("a")
    host.step({"a": 0.9})

    tokens = [host.step({"a": value})[0] for value in (0.1, 0.1, 0.9, 0.1, 0.1, 0.1)]

    assert tokens == [5, 5, 5, 5, 5, EOS]


def test_patience_counts_for_one_request_alone() -> None:
    """Whoever gets the place of another begins to count anew, even at the position behind its."""
    host = Host(patience=2)
    host.add("a")
    host.step({"a": 0.9})
    host.step({"a": 0.1})
    host.scheduler.finish("a")
    host.add("b", min_tokens=2)
    host.step({"b": 0.9})
    host.step({"b": 0.9})

    assert [host.step({"b": 0.1}) for _ in range(2)] == [[5], [EOS]]


def test_patience_survives_changes_of_the_batch() -> None:
    """The count belongs to the request, whatever row it is in and whoever joins it."""
    host = Host(patience=3)
    host.add("a")
    host.step({"a": 0.9})
    host.step({"a": 0.1})
    host.add("b")
    host.step({"b": 0.9, "a": 0.1})

    assert host.step({"a": 0.1, "b": 0.1}) == [EOS, 5]


def test_a_row_that_its_grammar_does_not_let_end_goes_on() -> None:
    """Where the grammar forbids the stop token the request is left alone until it allows it."""
    host = Host()
    host.add("a", structured_outputs=object())
    host.step({"a": 0.9})
    host.steering.begin(host.scheduler.step({"a": 1}))
    forbidden = torch.zeros(1, VOCABULARY)
    forbidden[0, EOS] = -torch.inf

    assert host.sample(torch.zeros(1, HIDDEN), forbidden) == [5]
    host.steering.begin(host.scheduler.step({"a": 1}))
    assert host.sample(torch.zeros(1, HIDDEN)) == [EOS]


def test_outcomes_tell_endings_apart() -> None:
    """An abstention, a refusal, a natural end and an unsteered request each leave their record."""
    host = Host()
    host.add("low")
    host.add("fine")
    host.add("bad", extra_args={"abstain_threshold": 7})
    host.add("off", extra_args={"steer": False})
    host.step(dict.fromkeys(("low", "fine", "bad", "off"), 0.75))
    host.step({"low": 0.25, "fine": 0.75, "off": 0.25})
    for name in ("low", "fine", "bad", "off"):
        host.ledger.close(name, host.endings.get(name), 2, 0.0)

    outcomes = {o.request_id: o for o in host.ledger.outcomes()}

    assert host.endings == {"low": Ending.ABSTAINED, "bad": Ending.REFUSED}
    assert outcomes["low"].abstained
    assert (outcomes["low"].response_tokens, outcomes["low"].value) == (1, 0.25)
    assert (outcomes["fine"].abstained, outcomes["fine"].value) == (False, 0.75)
    assert "abstain_threshold = 7" in str(outcomes["bad"].refused)
    assert outcomes["bad"].threshold is None, "that which ends it is nobody's"
    assert (outcomes["off"].threshold, outcomes["off"].value) == (None, None)
    counters = host.ledger.counters
    assert (counters.abstained, counters.refused, counters.swallowed_errors) == (1, 1, 0)


@pytest.mark.parametrize(
    ("feature", "seen"),
    [(None, "none"), (torch.zeros(3, HIDDEN), "3")],
    ids=["no feature", "wrong number of rows"],
)
def test_a_missing_feature_stops_the_step(feature: Tensor | None, seen: str) -> None:
    """A decision without its input is an error, not an unsteered token."""
    host = Host()
    host.add("a")
    host.step({"a": 0.9})
    host.steering.begin(host.scheduler.step({"a": 1}))

    expected = f"compute_logits gave {seen} hidden states for 1 sampled rows"
    with pytest.raises(SteeringError, match=expected):
        host.sample(feature)


def test_rows_that_do_not_match_the_requests_stop_the_step() -> None:
    """If the host samples other rows than its batch lists, nothing is guessed."""
    host = Host()
    host.add("a")
    host.steering.begin(host.scheduler.step({"a": 3}))
    host.rows = ["a"]

    with pytest.raises(SteeringError, match="2 rows for 1 requests"):
        host.sample(torch.zeros(2, HIDDEN), torch.zeros(2, VOCABULARY))


def test_passthrough_serves_counts_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    """The operator's choice to serve unsteered is visible: counted each time, logged per cause."""
    host = Host(on_error=OnError.PASSTHROUGH)
    host.add("a")
    host.step({"a": 0.9})
    for _ in range(3):
        host.steering.begin(host.scheduler.step({"a": 1}))
        assert host.sample(None) == [5]

    assert host.ledger.counters.swallowed_errors == 3
    assert len(caplog.records) == 1


def test_the_scheduler_is_told_how_each_request_is_steered() -> None:
    """Once, with the step that samples it first."""
    host = Host()
    scripts = Scripts(Reasoning(6, 7, (7,)))
    host.steering.table.admit = Admission(
        AbstainDefaults(defaults(0.5), 1, {"other": _other(0.25)}, scripts=scripts),
        FilterDefaults(defaults(0.75), 4, {"other": _other(0.875)}),
    )
    asked: dict[str, dict[str, Any]] = {
        "plain": {},
        "named": {"extra_args": {"steer_head": "other", "steer_values": True}},
        "thinks": {"extra_args": {"abstain_action": "end_thinking"}},
        "endless": {"eos_token_id": None},
        "wrong": {"extra_args": {"vfd_alpha": 3}},
    }
    for name, params in asked.items():
        host.add(name, **params)
    host.step(dict.fromkeys(asked, 0.9))

    wrong = host.admitted.pop("wrong")
    assert host.admitted == {
        "plain": Admitted(0.5, 0.75),
        "named": Admitted(0.25, 0.875, keeps_values=True, head=1, vfd_head=1),
        "thinks": Admitted(0.5, 0.75, action=AbstainAction.END_THINKING),
        "endless": Admitted(None, 0.75, unendable=True),
    }
    assert wrong == Admitted(refusal=wrong.refusal)
    host.step(dict.fromkeys(asked, 0.9))
    assert host.admitted == {}


def test_a_control_is_told_apart() -> None:
    """It is judged from its prompt on, never ended, and its thresholds are told all the same."""
    host = Host()
    host.steering.table.admit = replace(host.steering.table.admit, control_share=1.0)
    host.add("a")

    assert host.step({"a": 0.0}) == [5]
    assert host.admitted == {"a": Admitted(0.5, control=True)}
    assert host.step({"a": 0.0}) == [5]


@pytest.mark.parametrize(
    ("eos", "what"),
    [
        (1, "is ended at once"),
        (0, "is ended at once"),
        (None, "runs on unsteered, since it ignores its end"),
    ],
)
def test_a_refusal_is_said_with_what_becomes_of_the_request(
    eos: int | None, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker can refuse nothing, and the client may not read why."""
    host = Host()
    host.add("a", eos_token_id=eos, extra_args={"steer_head": "other"})

    assert host.step({"a": 0.9}) == [5 if eos is None else eos]
    assert caplog.messages == [
        f"request a {what}: extra_args.steer_head = 'other': this engine has none; "
        "additional_config names them under heads"
    ]


def test_what_a_request_is_made_to_say_is_told_with_what_it_said_before() -> None:
    """In response tokens, whatever its prompt was."""
    host = Host(scripts=Scripts(message=(8, 9)))
    host.add("a", extra_args={"abstain_action": "message"})
    host.add("b")

    given = [host.step({"a": value, "b": 0.9})[0] for value in (0.9, 0.9, 0.9, 0.1, 0.1, 0.1)]

    assert given == [5, 5, 5, 8, 9, EOS]
    assert host.endings == {"a": Ending.ABSTAINED}
    outcome = host.ledger.close("a", host.endings["a"], 6, 0.0)
    assert outcome is not None
    assert (outcome.action, outcome.response_tokens) == ("message", 3)
    assert outcome.judged == 3
    assert outcome.value == pytest.approx(0.1)


def test_the_time_of_the_hosts_own_sampling_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is counted is what steering costs."""
    host = Host()
    host.add("a")
    clock = itertools.count(1000)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    host.steering.begin(host.scheduler.step({"a": 3}))
    host.rows = ["a"]

    def sample() -> Any:
        for _ in range(100):
            time.perf_counter()
        return sampled(1)

    host.steering(sample, torch.zeros(1, VOCABULARY), torch.zeros(1, HIDDEN))

    delivery: Any = host.steering.delivery
    assert delivery.report.seconds == 2


def test_before_a_batch_was_sampled_there_is_nothing_to_give_out() -> None:
    """A step may run a part of a prompt and no more."""
    host = Host()
    host.add("a")
    host.steering.begin(host.scheduler.step({"a": 2}))

    assert host.steering.delivery is None


def test_a_finished_request_is_forgotten() -> None:
    """The outbox hears of it with the next output, in the order of the steps."""
    host = Host()
    host.add("a")
    host.add("b")
    host.step({"a": 0.9, "b": 0.9})
    host.scheduler.finish("a")
    host.steering.begin(host.scheduler.step({"b": 1}))
    host.rows = ["b"]

    host.steering(lambda: sampled(1), torch.zeros(1, VOCABULARY), torch.ones(1, HIDDEN))

    assert list(host.steering.table) == ["b"]
    assert host.steering.delivery is not None
    assert host.steering.delivery.over == ["a"]
