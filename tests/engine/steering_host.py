"""A fake host that samples one token a row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from tests.engine.live import defaults
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import OnError
from value_steer.engine.abstain import Abstainer
from value_steer.engine.admission import AbstainDefaults, Admission
from value_steer.engine.delivery.outbox import Outbox
from value_steer.engine.delivery.report import Admitted, Ending, report_of
from value_steer.engine.forcing.forced import Forcing
from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.guard import Guard
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scoring import Heads
from value_steer.engine.steering import Steering
from value_steer.engine.streaks import Streaks

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 4
VOCABULARY = 16
EOS = 1


def first_coordinate(hidden: Tensor) -> Tensor:
    """P(good) is the first coordinate of the hidden state."""
    return hidden[:, 0]


def sampled(rows: int) -> Any:
    """A host's sampler output."""
    tokens = torch.full((rows, 1), 5, dtype=torch.int32)
    return SimpleNamespace(sampled_token_ids=tokens, logprobs_tensors=None)


class Host:
    """Runs steps as a worker would: rows in scheduling order, token 5 sampled everywhere."""

    def __init__(
        self,
        *,
        patience: int = 1,
        on_error: OnError = OnError.RAISE,
        scripts: Scripts = Scripts(),  # noqa: B008  (it is frozen)
    ) -> None:
        self.scheduler = Scheduler()
        self.rows: list[str] = []
        self.outbox, self.ledger = Outbox(), Ledger()
        self.endings: dict[str, Ending] = {}
        self.admitted: dict[str, Admitted] = {}
        forcing = Forcing(scripts, torch.device("cpu"))
        self.steering = Steering(
            table=RequestTable(Admission(AbstainDefaults(defaults(0.5), 1, scripts=scripts))),
            rows=Rows(8, torch.device("cpu")),
            abstainer=Abstainer(
                Heads([first_coordinate, lambda hidden: hidden[:, 1]]),
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
        output = sampled(len(self.rows))
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
        self.admitted = report.admitted
        self.ledger.take(report, given.req_ids)
        self.endings.update(report.endings)
