"""A second batch, in which candidates run while the first one stays as it is.

Every candidate is the row of a shadow: a copy of its request that ends in another token. The first
candidate of a request writes its keys and values where the request's own next token will; further
ones write to spare blocks, each of which holds a copy of the request's last block.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
from typing import TYPE_CHECKING, Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.worker.gpu_input_batch import InputBatch

from value_steer.engine.run_ahead import Ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.run_ahead import RunAhead
    from value_steer.engine.spare_blocks import SpareBlocks
    from value_steer.engine.trials import Trial

_MOST_ROWS = 64
_ARGUMENTS = "_value_steer_arguments"


def remember_arguments() -> None:
    """Let the host's batches remember what they were made with, so that one can be made alike."""
    init: Callable[..., None] = InputBatch.__init__
    if hasattr(init, _ARGUMENTS):
        return
    signature = inspect.signature(init)

    @functools.wraps(init)
    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        setattr(self, _ARGUMENTS, signature.bind(self, *args, **kwargs))

    setattr(initialise, _ARGUMENTS, True)
    InputBatch.__init__ = initialise


class SideBatch:
    """Runs candidates apart from the host's own batch.

    Args:
        runner: The host's model runner.
        run_ahead: Runs decode steps.
        spares: Blocks that no request owns.
    """

    def __init__(self, runner: Any, run_ahead: RunAhead, spares: SpareBlocks) -> None:
        self._runner = runner
        self._run_ahead = run_ahead
        self._spares = spares
        self._rows = min(_MOST_ROWS, runner.input_batch.max_num_reqs)
        self._batch = _alike(runner.input_batch, self._rows)
        self._names = map("value-steer-{}".format, itertools.count())
        self._plain = SamplingParams(temperature=0.0)  # nothing is sampled here
        self._owner: dict[tuple[str, int], int] = {}

    def breadth(self, sequences: int) -> int:
        """See :meth:`value_steer.engine.trials.Prober.breadth`."""
        return max(1, min(self._rows, sequences + len(self._spares)) // sequences)

    def run(self, trials: Sequence[Trial]) -> Tensor:
        """See :meth:`value_steer.engine.trials.Prober.run`."""
        self._owner = {}
        rows = [(trial, index) for trial in trials for index in range(len(trial.tokens))]
        parts = [rows[i : i + self._rows] for i in range(0, len(rows), self._rows)]
        self._spares.fill(self._lend(rows))
        return torch.cat([self._look(part) for part in parts]) if parts[1:] else self._look(rows)

    def keep(self, trial: Trial, index: int, feature: Tensor) -> None:
        """See :meth:`value_steer.engine.trials.Prober.keep`."""
        request_id = trial.request_id
        if (spare := self._owner.get((request_id, index))) is not None:
            tail = self._spares.tail(self._blocks(request_id), trial.position)
            self._spares.copy([(spare, tail)], back=True)
        self._run_ahead.book(request_id, trial.position, trial.tokens[index])
        look = self._run_ahead.kept.look
        look.feature[look.ids.index(request_id)] = feature

    def _lend(self, rows: Sequence[tuple[Trial, int]]) -> list[tuple[int, Any]]:
        """Give a spare to every candidate but the first of its request."""
        lent = []
        for trial, index in rows:
            if index:
                spare = len(lent)
                self._owner[trial.request_id, index] = spare
                tail = self._spares.tail(self._blocks(trial.request_id), trial.position)
                lent.append((spare, tail))
        return lent

    def _look(self, rows: Sequence[tuple[Trial, int]]) -> Tensor:
        runner = self._runner
        shadows = [self._shadow(*row) for row in rows]
        ids = [shadow.req_id for shadow in shadows]
        positions = {i: trial.position for i, (trial, _) in zip(ids, rows, strict=True)}
        outputs = [len(shadow.output_token_ids) for shadow in shadows]
        runner.requests.update(zip(ids, shadows, strict=True))
        own, runner.input_batch = runner.input_batch, self._batch
        try:
            look = self._run_ahead.look(Ends(positions, outputs))
        finally:
            runner.input_batch = own
            for name in ids:
                del runner.requests[name]
        if look.ids == ids:
            return look.feature
        order = [look.ids.index(name) for name in ids]
        return look.feature[torch.tensor(order, device=look.feature.device)]

    def _shadow(self, trial: Trial, index: int) -> Any:
        """A copy of the request that ends in a candidate."""
        request = self._runner.requests[trial.request_id]
        shadow = copy.copy(request)
        shadow.req_id = next(self._names)
        shadow.output_token_ids = [*request.output_token_ids[:-1], trial.tokens[index]]
        shadow.sampling_params, shadow.generator = self._plain, None
        spare = self._owner.get((trial.request_id, index))
        if spare is not None:
            shadow.block_ids = self._spares.instead(request.block_ids, trial.position, spare)
        return shadow

    def _blocks(self, request_id: str) -> Any:
        return self._runner.requests[request_id].block_ids


def _alike(batch: InputBatch, rows: int) -> InputBatch:
    """An empty batch made as ``batch`` was, of another size and without logits processors."""
    bound = copy.copy(getattr(batch, _ARGUMENTS))
    arguments = dict(bound.arguments)
    arguments.pop("self")
    arguments["max_num_reqs"] = rows
    arguments["logitsprocs"] = type(batch.logitsprocs)()  # theirs are stateful, and count rows
    return type(batch)(**arguments)
