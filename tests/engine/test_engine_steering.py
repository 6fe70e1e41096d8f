"""One step from end to end, on a fake host: what fires, what is recorded, what fails how."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.engine.live import abstaining
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import OnError
from value_steer.engine.abstain import Abstainer
from value_steer.engine.delivery.outbox import Outbox
from value_steer.engine.delivery.report import Ending, report_of
from value_steer.engine.forcing.forced import Forcing
from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.guard import Guard
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scoring import Heads
from value_steer.engine.steering import Steering
from value_steer.engine.streaks import Streaks
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 4
VOCABULARY = 16
EOS = 1


def first_coordinate(hidden: Tensor) -> Tensor:
    """P(good) is the first coordinate of the hidden state."""
    return hidden[:, 0]


def _sampled(rows: int) -> Any:
    """A host's sampler output."""
    tokens = torch.full((rows, 1), 5, dtype=torch.int32)
    return SimpleNamespace(sampled_token_ids=tokens, logprobs_tensors=None)


class Host:
    """Runs steps as a worker would: rows in scheduling order, token 5 sampled everywhere."""

    def __init__(self, *, patience: int = 1, on_error: OnError = OnError.RAISE) -> None:
        self.scheduler = Scheduler()
        self.rows: list[str] = []
        self.outbox, self.ledger = Outbox(), Ledger()
        self.endings: dict[str, Ending] = {}
        forcing = Forcing(Scripts(), torch.device("cpu"))
        self.steering = Steering(
            table=RequestTable(abstaining(0.5)),
            rows=Rows(8, torch.device("cpu")),
            abstainer=Abstainer(
                Heads([first_coordinate]),
                Streaks(patience, 4, torch.device("cpu")),
                lambda mask: mask,
                forcing,
            ),
            value_filter=None,
            forcing=forcing,
            row_ids=lambda: self.rows,
            guard=Guard(on_error),
        )

    def add(self, name: str, **params: Any) -> None:
        """Queue a request with a prompt of three tokens."""
        self.scheduler.add(Job(name, prompt=3, params=Params(**params)))

    def step(self, values: dict[str, float], tokens: dict[str, int] | None = None) -> list[int]:
        """Run one step in which the head sees ``values``; returns the tokens that come out."""
        jobs = self.scheduler.jobs
        tokens = tokens or {name: jobs[name].length - jobs[name].computed for name in values}
        self.steering.begin(self.scheduler.step(tokens))
        self.rows = list(tokens)
        feature = torch.zeros(len(values), HIDDEN)
        feature[:, 0] = torch.tensor(list(values.values()))
        return self.sample(feature)

    def sample(self, feature: Tensor | None, logits: Tensor | None = None) -> list[int]:
        """Sample the batch; the feature may be missing or misshapen."""
        logits = torch.zeros(len(self.rows), VOCABULARY) if logits is None else logits
        output = _sampled(len(self.rows))
        tokens: list[int] = (
            self.steering(lambda: output, logits, feature).sampled_token_ids.flatten().tolist()
        )
        self._deliver(tokens)
        return tokens

    def _deliver(self, tokens: list[int]) -> None:
        """Let the scheduler's side have what the step gives out."""
        given: Any = SimpleNamespace(
            req_ids=list(self.rows), sampled_token_ids=[[token] for token in tokens], logprobs=None
        )
        delivery, self.steering.delivery = self.steering.delivery, None
        assert delivery is not None
        report = report_of(self.outbox.pass_on(given, delivery))
        assert report is not None
        self.ledger.take(report, given.req_ids)
        self.endings.update(report.endings)


def test_a_row_ends_when_its_value_falls_below_the_threshold() -> None:
    """The prompt is not judged by default; after that, the low row ends and the other goes on."""
    host = Host()
    host.add("a")
    host.add("b")

    assert host.step({"a": 0.1, "b": 0.9}) == [5, 5]
    assert host.step({"a": 0.1, "b": 0.9}) == [EOS, 5]


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
    """Whoever gets the place of another begins to count anew."""
    host = Host(patience=2)
    host.add("a")
    host.step({"a": 0.9})
    host.step({"a": 0.1})
    host.scheduler.finish("a")
    host.add("b")
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
    assert (outcomes["off"].threshold, outcomes["off"].value) == (None, None)
    counters = host.ledger.counters
    assert (counters.abstained, counters.refused, counters.swallowed_errors) == (1, 1, 0)


@pytest.mark.parametrize(
    "feature", [None, torch.zeros(3, HIDDEN)], ids=["no feature", "wrong number of rows"]
)
def test_a_missing_feature_stops_the_step(feature: Tensor | None) -> None:
    """A decision without its input is an error, not an unsteered token."""
    host = Host()
    host.add("a")
    host.step({"a": 0.9})
    host.steering.begin(host.scheduler.step({"a": 1}))

    with pytest.raises(SteeringError, match="compute_logits"):
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


def test_a_finished_request_is_forgotten() -> None:
    """The outbox hears of it with the next output, in the order of the steps."""
    host = Host()
    host.add("a")
    host.add("b")
    host.step({"a": 0.9, "b": 0.9})
    host.scheduler.finish("a")
    host.steering.begin(host.scheduler.step({"b": 1}))
    host.rows = ["b"]

    host.steering(lambda: _sampled(1), torch.zeros(1, VOCABULARY), torch.ones(1, HIDDEN))

    assert list(host.steering.table) == ["b"]
    assert host.steering.delivery is not None
    assert host.steering.delivery.over == ["a"]
