"""A step that gives requests several tokens, on a fake host: where it is cut, and what is told."""

from __future__ import annotations

import random
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
from value_steer.engine.speculation.judging import REJECTED, DraftJudge
from value_steer.engine.speculation.steering import SpeculativeSteering
from value_steer.engine.streaks import Streaks
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CPU = torch.device("cpu")
VOCABULARY, EOS, PROMPT = 16, 1, 3
THRESHOLD = 0.5


class Host:
    """Runs steps as a worker would.

    Args:
        ahead: Whether the scheduler counts on every draft of the step before.
    """

    def __init__(
        self, *, patience: int = 1, ahead: bool = False, on_error: OnError = OnError.RAISE
    ) -> None:
        self.scheduler = Scheduler()
        self.rows: list[str] = []
        self.outbox, self.ledger = Outbox(), Ledger()
        self.endings: dict[str, Ending] = {}
        self._ahead, self._rejected = ahead, dict[str, int]()
        streaks, score = Streaks(patience, 16, CPU), Heads([lambda f: f[:, 0]])
        forcing = Forcing(Scripts(), CPU)
        self.steering = SpeculativeSteering(
            DraftJudge(score, streaks, lambda mask: mask),
            asynchronous=ahead,
            device=CPU,
            table=RequestTable(abstaining(THRESHOLD)),
            rows=Rows(8, CPU),
            abstainer=Abstainer(score, streaks, lambda mask: mask, forcing),
            value_filter=None,
            forcing=forcing,
            row_ids=lambda: self.rows,
            guard=Guard(on_error),
        )

    def add(self, name: str, **params: Any) -> None:
        """Queue a request with a prompt of three tokens."""
        self.scheduler.add(Job(name, prompt=PROMPT, params=Params(**params)))

    def step(
        self,
        values: Mapping[str, Sequence[float]],
        accepted: Mapping[str, int] | None = None,
        logits: torch.Tensor | None = None,
    ) -> dict[str, list[int]]:
        """Run a step in which each request has a row per value; token 5 is sampled everywhere.

        Args:
            values: What the head sees, by request: one value more than it has drafts.
            accepted: Drafts that are accepted; of requests that are not named, all.
            logits: Of all rows.

        Returns:
            The tokens that come out.
        """
        drafts = {name: len(row) - 1 for name, row in values.items()}
        self.steering.begin(self._message(drafts))
        self.rows = list(values)
        width = max(drafts.values()) + 1
        tokens = torch.full((len(values), width), REJECTED, dtype=torch.int32)
        for line, (name, count) in enumerate(drafts.items()):
            tokens[line, : (accepted or {}).get(name, count) + 1] = 5
        feature = torch.tensor([[value] for row in values.values() for value in row])
        logits = torch.zeros(len(feature), VOCABULARY) if logits is None else logits
        output: Any = SimpleNamespace(sampled_token_ids=tokens, logprobs_tensors=None)
        self.steering(lambda: output, logits, feature)
        given = {
            name: [token for token in row if token != REJECTED]
            for name, row in zip(values, output.sampled_token_ids.tolist(), strict=True)
        }
        self._deliver(given, drafts)
        return given

    def _message(self, drafts: Mapping[str, int]) -> Any:
        jobs = self.scheduler.jobs
        tokens = {name: jobs[name].length - jobs[name].computed for name in drafts}
        message = self.scheduler.step(tokens)
        message.scheduled_spec_decode_tokens = {n: [5] * d for n, d in drafts.items() if d}
        for name, count in drafts.items():
            message.num_scheduled_tokens[name] += count
        message.total_num_scheduled_tokens = sum(message.num_scheduled_tokens.values())
        cached = message.scheduled_cached_reqs
        for i, name in enumerate(cached.req_ids):
            late = self._rejected.get(name, 0) if self._ahead else 0
            cached.num_computed_tokens[i] += late
            cached.num_output_tokens[i] += late
        return message

    def _deliver(self, given: Mapping[str, Sequence[int]], drafts: Mapping[str, int]) -> None:
        """Let the scheduler's side have what the step gives out."""
        out: Any = SimpleNamespace(
            req_ids=list(given), sampled_token_ids=list(given.values()), logprobs=None
        )
        delivery, self.steering.delivery = self.steering.delivery, None
        assert delivery is not None
        report = report_of(self.outbox.pass_on(out, delivery))
        assert report is not None
        self.ledger.take(report, out.req_ids)
        for name, tokens in given.items():
            job = self.scheduler.jobs[name]
            job.outputs += len(tokens) - 1
            job.computed += len(tokens) - 1
            self._rejected[name] = drafts[name] + 1 - len(tokens)
            if (span := report.spans.get(name)) is not None:
                self.ledger.take_span(name, span, len(tokens))
        self.endings.update(report.endings)


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
    outcome = host.ledger.close("a", None, len(tokens), 0.0)
    assert outcome is not None
    assert outcome.values == pytest.approx(tuple(values[max(1, least) : len(tokens)]))


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
    with pytest.raises(SteeringError, match="1 hidden states for 2 sampled rows"):
        host.steering(lambda: output, torch.zeros(2, VOCABULARY), torch.zeros(1, 1))


def test_passthrough_serves_what_was_accepted() -> None:
    """The operator's choice: unsteered, and counted."""
    host = Host(on_error=OnError.PASSTHROUGH)
    host.add("a")
    host.step({"a": [0.0]})
    host.steering._judge._score = Heads([lambda _: torch.zeros(0)])

    assert host.step({"a": [0.1, 0.1]}) == {"a": [5, 5]}
    assert host.ledger.counters.swallowed_errors == 1
