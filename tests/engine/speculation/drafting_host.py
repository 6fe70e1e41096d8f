"""A fake host whose steps give requests several tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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
        *,
        prefill: Mapping[str, int] | None = None,
        table: Any = None,
    ) -> dict[str, list[int]]:
        """Run a step in which each request has a row per value; token 5 is sampled everywhere.

        Args:
            values: What the head sees, by request: one value more than it has drafts.
            accepted: Drafts that are accepted; of requests that are not named, all; -1 where the
                host discards the token of a partial prefill.
            logits: Of all rows.
            prefill: Tokens of requests that are not run to the end of their prompts.
            table: The host's log-probabilities.

        Returns:
            The tokens that come out.
        """
        drafts = {name: len(row) - 1 for name, row in values.items()}
        self.steering.begin(self._message(drafts, prefill or {}))
        self.rows = list(values)
        width = max(drafts.values()) + 1
        tokens = torch.full((len(values), width), REJECTED, dtype=torch.int32)
        for line, (name, count) in enumerate(drafts.items()):
            tokens[line, : (accepted or {}).get(name, count) + 1] = 5
        feature = torch.tensor([[value] for row in values.values() for value in row])
        logits = torch.zeros(len(feature), VOCABULARY) if logits is None else logits
        output: Any = SimpleNamespace(sampled_token_ids=tokens, logprobs_tensors=table)
        self.steering(lambda: output, logits, feature)
        assert output.sampled_token_ids.dtype is torch.int32, "as the host has it"
        given = {
            name: [token for token in row if token != REJECTED]
            for name, row in zip(values, output.sampled_token_ids.tolist(), strict=True)
        }
        self._deliver(given, drafts)
        return given

    def _message(self, drafts: Mapping[str, int], prefill: Mapping[str, int] | None = None) -> Any:
        jobs = self.scheduler.jobs
        tokens = {name: jobs[name].length - jobs[name].computed for name in drafts}
        tokens |= prefill or {}
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
            if not tokens:
                continue
            job.outputs += len(tokens) - 1
            job.computed += len(tokens) - 1
            self._rejected[name] = drafts[name] + 1 - len(tokens)
            if (span := report.spans.get(name)) is not None:
                self.ledger.take_span(name, span, len(tokens))
        self.endings.update(report.endings)
