"""What both runners share: a cache that a forward pass reads and writes, a sampler, outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tests.engine.simulation import model
from tests.engine.simulation.requests import BLOCK
from tests.engine.simulation.stand_ins import AsyncModelRunnerOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from torch import Tensor

    from tests.engine.simulation.traces import Ask


@dataclass(slots=True)
class Row:
    """A request in a batch.

    Attributes:
        id: Its id.
        ask: What it asks for.
        tokens: What it feeds, in order.
        start: The position of the first of them.
        blocks: Where its keys and values are.
        complete: Whether the row reaches the end of its sequence.
    """

    id: str
    ask: Ask
    tokens: list[int]
    start: int
    blocks: list[int]
    complete: bool

    @property
    def end(self) -> int:
        """Tokens of the sequence afterwards."""
        return self.start + len(self.tokens)


class Cache:
    """Keys and values, which here are the tokens themselves."""

    def __init__(self, salt: int) -> None:
        self._salt = salt
        self._slots: dict[tuple[int, int], int] = {}

    def forward(self, row: Row) -> model.State:
        """Write the row's tokens; the state at its end, of what lies in its blocks."""
        for at, token in enumerate(row.tokens, row.start):
            assert token >= 0, f"{row.id}: no token is known for position {at}"
            self._slots[row.blocks[at // BLOCK], at % BLOCK] = token
        sequence = tuple(self._slots[row.blocks[i // BLOCK], i % BLOCK] for i in range(row.end))
        return model.state(self._salt, sequence)


class LogprobsLists(NamedTuple):
    """A step's table on the host."""

    logprob_token_ids: np.ndarray
    logprobs: np.ndarray
    sampled_token_ranks: np.ndarray
    cu_num_generated_tokens: list[int] | None = None

    def slice_request(self, row: int, count: int) -> LogprobsLists:
        """A row."""
        ids, logprobs, ranks = (column[row : row + count] for column in self[:3])
        return LogprobsLists(ids, logprobs, ranks)


@dataclass
class LogprobsTensors:
    """A step's table on the device."""

    logprob_token_ids: Tensor
    logprobs: Tensor
    selected_token_ranks: Tensor

    def tolists(self) -> LogprobsLists:
        """On the host."""
        return LogprobsLists(
            self.logprob_token_ids.numpy().copy(),
            self.logprobs.numpy().copy(),
            self.selected_token_ranks.numpy().copy(),
        )


class Sampler:
    """Draws by a request's seed and the position."""

    def __init__(self) -> None:
        self.batch: list[Row] = []

    def __call__(self, logits: Tensor, batch: Any = None, **_: Any) -> Any:
        """One token per row."""
        del batch
        self.logits = logits
        rows = logits.tolist()
        self.tokens = [
            model.sampled(row, one.ask.seed, one.end, greedy=one.ask.greedy)
            for row, one in zip(rows, self.batch, strict=True)
        ]
        return SimpleNamespace(
            sampled_token_ids=torch.tensor(self.tokens).unsqueeze(1),
            logprobs_tensors=self._table(rows),
        )

    def _table(self, rows: Sequence[Sequence[float]]) -> LogprobsTensors | None:
        width = max(
            (one.ask.logprobs for one in self.batch if one.ask.logprobs is not None), default=-1
        )
        if width < 0:
            return None
        entries = []
        for logits, token in zip(rows, self.tokens, strict=True):
            order = sorted((-value, other) for other, value in enumerate(logits))
            best = [other for _, other in order[:width]]
            entries.append([model.entry(logits, other) for other in (token, *best)])
        return LogprobsTensors(
            torch.tensor([[one[0] for one in row] for row in entries]),
            torch.tensor([[one[1] for one in row] for row in entries]),
            torch.tensor([row[0][2] for row in entries]),
        )


class Draws:
    """What the last batch was sampled from."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def take(self) -> model.Distributions:
        """See the engine's protocol."""
        batch = self._sampler.batch
        return model.Distributions(
            self._sampler.logits, [one.ask.seed for one in batch], [one.end for one in batch]
        )


class Promise(AsyncModelRunnerOutput):
    """An output on its way from the device."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def get_output(self) -> Any:
        """The output; it can be had once."""
        output, self._output = self._output, None
        return output


class Model:
    """Projects a state, which is made of two values and the logits."""

    def compute_logits(self, hidden_states: Tensor) -> Tensor:
        """The logits."""
        return hidden_states[:, 2:].clone()


class Runner:
    """A model runner of the host, without its bookkeeping.

    Attributes:
        asynchronous: Whether steps overlap.
        batch: The rows that are being run.
    """

    def __init__(self, trace: Any) -> None:
        self.trace = trace
        self.asynchronous = trace.depth > 1
        self.cache = Cache(trace.salt)
        self.sampler: Any = Sampler()
        self.host_sampler: Sampler = self.sampler
        self.draws = Draws(self.sampler)
        self.batch: list[Row] = []
        self._model = Model()

    def get_model(self) -> Model:
        """The model."""
        return self._model

    def _forward(self) -> None:
        states = [self.cache.forward(row) for row in self.batch]
        self._hidden = torch.tensor([(s.undesirable, s.good, *s.logits) for s in states])

    def _sample(self, grammar: Mapping[str, Sequence[bool]], *arguments: Any) -> Any:
        logits: Tensor = self._model.compute_logits(self._hidden)
        for i, row in enumerate(self.batch):
            if row.id in grammar and row.complete:
                logits[i].masked_fill_(~torch.tensor(grammar[row.id]), -math.inf)
        self.host_sampler.batch = self.batch
        return self.sampler(logits, *arguments)

    def _output(self, sampled: Any) -> Any:
        """What the scheduler gets: rows amid their prompts give out nothing."""
        tokens = sampled.sampled_token_ids.tolist()
        table = sampled.logprobs_tensors
        ids = [row.id for row in self.batch]
        return SimpleNamespace(
            req_ids=ids,
            req_id_to_index={name: i for i, name in enumerate(ids)},
            sampled_token_ids=[
                given if row.complete else [] for given, row in zip(tokens, self.batch, strict=True)
            ],
            logprobs=None if table is None else table.tolists(),
            prompt_logprobs_dict={
                row.id: "of the prompt" for row in self.batch if self._shows_prompt(row)
            },
        )

    def _shows_prompt(self, row: Row) -> bool:
        """Whether the log-probabilities of a prompt are there now."""
        return row.complete and row.end == len(row.ask.prompt)
