"""A fake host that samples what it is told to, with value filtering in it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from tests.engine.live import defaults
from tests.engine.schedules import Job, Params, Scheduler
from value_steer.config import Fallback, OnError
from value_steer.engine.abstain import Abstainer
from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults
from value_steer.engine.delivery.lag import Lag
from value_steer.engine.delivery.outbox import Outbox, Score
from value_steer.engine.delivery.report import Ending, StepReport, report_of
from value_steer.engine.filtering.late import Memory
from value_steer.engine.filtering.search import FallbackRule
from value_steer.engine.filtering.value_filter import ValueFilter
from value_steer.engine.forcing.forced import Forcing
from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.guard import Guard
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.scoring import Heads
from value_steer.engine.steering import Steering
from value_steer.engine.streaks import Streaks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Generator

CPU = torch.device("cpu")
VOCABULARY, PROMPT, LONGEST = 10, 3, 64
FINE, BAD = 0.1, 0.9


class Source:
    """Every token but 0 is as probable as the others; the randomness is each request's own.

    Args:
        rows: Of the batch.
        number: Of the batch; a table of log-probabilities shows it as the rank of any token.
    """

    def __init__(self, rows: int, number: int) -> None:
        self._number = number
        logits = torch.zeros(rows, VOCABULARY)
        logits[:, 0] = -torch.inf
        self._logits = logits

    def of(self, rows: Sequence[int]) -> torch.Tensor:
        """The logits of rows."""
        return self._logits[list(rows)]

    def generators(self, rows: Sequence[int]) -> list[Generator | None]:
        """None that the host does not use itself."""
        return [None for _ in rows]

    def score(self, row: int, token: int) -> Score:
        """As the host's table would have it."""
        del row
        return Score(token, -0.5, self._number)


class Host:
    """Runs steps as a worker would, and lets the scheduler know of each token when it is out.

    Attributes:
        again: Rows that took a position again in the last step, and the token they end in.
        endings: What was ended by whom, step by step.
        generators: The randomness of requests that have a seed; one number is drawn per step.
    """

    def __init__(
        self,
        *,
        longest: int = LONGEST,
        fallback: Fallback = Fallback.ARGMIN,
        abstention: AbstainDefaults | None = None,
        on_error: OnError = OnError.RAISE,
    ) -> None:
        self.scheduler, self.outbox = Scheduler(), Outbox()
        self.rows: list[str] = []
        self._batches = 0
        self.again: dict[int, int] = {}
        self.endings: list[dict[str, Ending]] = []
        self.generators: dict[str, Generator] = {}
        scripts = Scripts(message=(8, 9))
        if abstention is not None:
            abstention = replace(abstention, scripts=scripts)
        table = RequestTable(Admission(abstention, FilterDefaults(defaults(0.5), 4)))
        self.memory, self.lag = Memory(), Lag(lambda _: None)
        runner: Any = SimpleNamespace(run_again=self._run_again, generator=self.generators.get)
        draws: Any = SimpleNamespace(take=lambda: Source(len(self.rows), self._batches))
        self.filter = ValueFilter(
            score=lambda hidden, _: hidden[:, 0],
            table=table,
            runner=runner,
            draws=draws,
            lag=self.lag,
            memory=self.memory,
            fallback=FallbackRule(fallback, 1.0),
            guard=Guard(on_error),
            max_length=longest,
        )
        forcing = Forcing(scripts, CPU)
        self.steering = Steering(
            table=table,
            rows=Rows(8, CPU),
            abstainer=Abstainer(
                Heads([lambda hidden: hidden[:, 1]]), Streaks(1, 4, CPU), lambda m: m, forcing
            ),
            value_filter=self.filter,
            forcing=forcing,
            row_ids=lambda: self.rows,
            guard=Guard(on_error),
        )

    def add(self, name: str, *, seed: int | None = None, **params: Any) -> None:
        """Queue a request with a prompt of three tokens."""
        if seed is not None:
            self.generators[name] = torch.Generator().manual_seed(seed)
        self.scheduler.add(Job(name, prompt=PROMPT, params=Params(**params)))

    def step(
        self, good: Mapping[str, float] | None = None, **rows: tuple[float, int]
    ) -> dict[str, list[int]]:
        """Run a step.

        Args:
            good: What abstention's head says of requests; of all others 1.
            rows: Of each request what the head says of its last token, and what is sampled.

        Returns:
            What comes out.
        """
        jobs = self.scheduler.jobs
        tokens = {name: jobs[name].length - jobs[name].computed for name in rows}
        self.steering.begin(self.lag.correct(self._message(tokens)))
        self.rows, self.again = list(rows), {}
        self.output: Any = SimpleNamespace(
            sampled_token_ids=torch.tensor([[token] for _, token in rows.values()]),
            logprobs_tensors=None,
        )
        feature = torch.tensor(
            [[value, (good or {}).get(name, 1.0)] for name, (value, _) in rows.items()]
        )
        self.steering(self._sample, torch.zeros(len(rows), VOCABULARY), feature)
        return self._deliver()

    def _message(self, tokens: Mapping[str, int]) -> Any:
        message = self.scheduler.step(dict(tokens))
        message.scheduled_cached_reqs.all_token_ids = {}
        return message

    def _sample(self) -> Any:
        self._batches += 1
        for name in self.rows:
            if name in self.generators:
                torch.rand(1, generator=self.generators[name])
        return self.output

    def _run_again(self, output: Any, tokens: Mapping[int, int], ids: Sequence[str]) -> None:
        assert list(ids) == self.rows
        self.again = dict(tokens)
        for row, token in tokens.items():
            output.sampled_token_ids[row, 0] = token

    def _deliver(self) -> dict[str, list[int]]:
        given: Any = SimpleNamespace(
            req_ids=self.rows,
            sampled_token_ids=self.output.sampled_token_ids.tolist(),
            logprobs=None,
            prompt_logprobs_dict={},
        )
        delivery, self.steering.delivery = self.steering.delivery, None
        assert delivery is not None
        self.verdicts = delivery.verdicts
        report = report_of(self.outbox.pass_on(given, delivery))
        assert report is not None
        self.report: StepReport = report
        self.endings.append(report.endings)
        for name in report.repeated:
            self.scheduler.withhold(name)
        return dict(zip(self.rows, given.sampled_token_ids, strict=True))

    def drawn(self, name: str) -> int:
        """How many numbers were drawn of a request's randomness."""
        generator = self.generators[name]
        twin = torch.Generator().manual_seed(generator.initial_seed())
        for count in range(50):
            if torch.equal(twin.get_state(), generator.get_state()):
                return count
            torch.rand(1, generator=twin)
        raise AssertionError
