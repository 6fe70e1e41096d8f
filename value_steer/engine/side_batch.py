"""A second batch, in which candidates run while the first one stays as it is.

Every candidate is the row of a shadow: a copy of its request that ends in another token. The first
one writes its keys and values where the request's own next token will; each further one writes to
a spare block that holds a copy of the request's last one, while there are any.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.worker.gpu_input_batch import InputBatch

from value_steer.engine.looks import Ends

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


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was run.

    Attributes:
        features: Of the run, ``[rows, hidden]``.
        row: Its own.
        spare: The spare block that holds its keys and values; ``None``: the request's own does.
    """

    features: Tensor
    row: int
    spare: int | None


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
        self.begin()

    def begin(self) -> None:
        """See :meth:`value_steer.engine.trials.Prober.begin`."""
        self._used = 0
        self._tried: dict[tuple[str, int], Tried] = {}
        self._own: dict[str, int] = {}

    def breadth(self, sequences: int) -> int:
        """See :meth:`value_steer.engine.trials.Prober.breadth`."""
        places = len(self._spares) - self._used + (0 if self._own else sequences)
        return max(1, min(self._rows, places) // sequences)

    def run(self, trials: Sequence[Trial]) -> Tensor:
        """See :meth:`value_steer.engine.trials.Prober.run`."""
        rows = [(trial, token) for trial in trials for token in trial.tokens]
        parts = [rows[i : i + self._rows] for i in range(0, len(rows), self._rows)]
        return torch.cat([self._run(part) for part in parts]) if parts[1:] else self._run(rows)

    def holds(self, request_id: str, token: int) -> bool:
        """See :meth:`value_steer.engine.trials.Prober.holds`."""
        tried = self._tried.get((request_id, token))
        if tried is None:  # the token that was run ahead
            return request_id not in self._own
        return tried.spare is not None or self._own[request_id] == token

    def keep(self, ends: Sequence[Trial]) -> None:
        """See :meth:`value_steer.engine.trials.Prober.keep`."""
        look = self._run_ahead.kept.look
        lent = []
        for end in ends:
            (token,) = end.tokens
            tried = self._tried.get((end.request_id, token))
            if tried is not None:
                look.feature[look.ids.index(end.request_id)] = tried.features[tried.row]
                if tried.spare is not None:
                    lent.append((tried.spare, self._tail(end)))
            self._run_ahead.book(end.request_id, end.position, token)
        self._spares.copy(lent, back=True)

    def _run(self, rows: Sequence[tuple[Trial, int]]) -> Tensor:
        lent = [self._lend(trial.request_id, token) for trial, token in rows]
        pairs = zip(lent, rows, strict=True)
        copies = [(spare, self._tail(trial)) for spare, (trial, _) in pairs if spare is not None]
        self._spares.copy(copies, back=False)
        shadows = [self._shadow(*row, spare) for row, spare in zip(rows, lent, strict=True)]
        features = self._look(shadows, [trial.position for trial, _ in rows])
        for row, ((trial, token), spare) in enumerate(zip(rows, lent, strict=True)):
            self._tried[trial.request_id, token] = Tried(features, row, spare)
        return features

    def _look(self, shadows: Sequence[Any], positions: Sequence[int]) -> Tensor:
        runner = self._runner
        ids = [shadow.req_id for shadow in shadows]
        outputs = [len(shadow.output_token_ids) for shadow in shadows]
        runner.requests.update(zip(ids, shadows, strict=True))
        own, runner.input_batch = runner.input_batch, self._batch
        try:
            look = self._run_ahead.look(Ends(dict(zip(ids, positions, strict=True)), outputs))
        finally:
            runner.input_batch = own
            for name in ids:
                del runner.requests[name]
        if look.ids == ids:
            return look.feature
        order = [look.ids.index(name) for name in ids]
        return look.feature[torch.tensor(order, device=look.feature.device)]

    def _shadow(self, trial: Trial, token: int, spare: int | None) -> Any:
        """A copy of the request that ends in a candidate."""
        request = self._runner.requests[trial.request_id]
        shadow = copy.copy(request)
        shadow.req_id = next(self._names)
        shadow.output_token_ids = [*request.output_token_ids[:-1], token]
        shadow.sampling_params, shadow.generator = self._plain, None
        if spare is not None:
            shadow.block_ids = self._spares.instead(request.block_ids, trial.position, spare)
        return shadow

    def _lend(self, request_id: str, token: int) -> int | None:
        """The next spare block of this step; ``None``: the request's own."""
        if request_id not in self._own or self._used == len(self._spares):
            self._own[request_id] = token
            return None
        self._used += 1
        return self._used - 1

    def _tail(self, trial: Trial) -> tuple[int, ...]:
        """The block of the candidate's position in each group."""
        return self._spares.tail(self._runner.requests[trial.request_id].block_ids, trial.position)


def _alike(batch: InputBatch, rows: int) -> InputBatch:
    """An empty batch made as ``batch`` was, of another size and without logits processors."""
    arguments = dict(getattr(batch, _ARGUMENTS).arguments)
    arguments.pop("self")
    arguments["max_num_reqs"] = rows
    arguments["logitsprocs"] = type(batch.logitsprocs)()  # theirs are stateful, and count rows
    return type(batch)(**arguments)
