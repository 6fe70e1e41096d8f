"""Putting the parts together from the settings of one engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from value_steer.config import OnError
from value_steer.engine import host
from value_steer.engine.abstain import Abstainer
from value_steer.engine.agreement import agreement, shared_values
from value_steer.engine.delivery.lag import Lag
from value_steer.engine.filtering.late import Memory
from value_steer.engine.filtering.search import FallbackRule
from value_steer.engine.filtering.value_filter import ValueFilter
from value_steer.engine.forcing.forced import Forcing
from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.guard import Guard
from value_steer.engine.modes import admission
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.runners.v1 import DrawsV1, RunnerV1
from value_steer.engine.runners.v2 import DrawsV2, RunnerV2
from value_steer.engine.scheduling.mirror import Mirror
from value_steer.engine.scoring import Heads, Scorer, complement
from value_steer.engine.speculation.judging import DraftJudge
from value_steer.engine.speculation.steering import SpeculativeSteering
from value_steer.engine.steering import Steering
from value_steer.engine.steps import PassedOnSteps, SteeredSteps
from value_steer.engine.streaks import Streaks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.config import VllmConfig

    from value_steer.engine.hooks import Hooks
    from value_steer.engine.modes import Filtering, Modes
    from value_steer.engine.runners import Draws
    from value_steer.engine.scoring import Score


_REPLAYED = 4
"""Steps of a request that may be run again: two in flight, one held, and one before."""


@dataclass(frozen=True)
class Placed:
    """The objects on a model's device: heads laid out for scoring, and the place of draws.

    Attributes:
        p_good: P(good) of hidden states ``[rows, hidden]``: the heads of abstention or, where only
            filtering is enabled, that of filtering turned round.
        p_undesirable: P(undesirable) of them; ``None`` if the engine does not filter.
        draws: Draws further candidates; ``None`` if the engine does not filter.
    """

    p_good: Heads
    p_undesirable: Heads | None
    draws: Draws | None

    @property
    def probe(self) -> Score:
        """A score to prove the hooks with."""
        return self.p_good.first


def place(modes: Modes, worker: Any, hooks: Hooks) -> Placed:
    """Put the heads on the device of a worker whose model is loaded, and prepare its sampler.

    The host measures afterwards what is left for its cache. Releases that take the model's own
    account of its memory for that are told of the heads.
    """
    runner = worker.model_runner
    good, undesirable = (
        [Scorer(one.head.to(runner.device)) for one in (mode, *mode.named.values())] if mode else []
        for mode in (modes.abstention, modes.filtering)
    )
    if runner.device.type != "cpu":
        runner.model_memory_usage += sum(scorer.bytes for scorer in (*good, *undesirable))
    if not undesirable:
        return Placed(Heads(good), None, None)
    p_undesirable = Heads(undesirable)
    p_good = Heads(good or [complement(p_undesirable.first)])
    v1 = host.runner_kind(worker.vllm_config) == "v1"
    draws = DrawsV1(hooks.host_sampler) if v1 else DrawsV2(hooks.host_sampler)
    return Placed(p_good, p_undesirable, draws)


def steer(modes: Modes, worker: Any, hooks: Hooks, placed: Placed) -> SteeredSteps:
    """The steering of a worker whose model is loaded and warmed up.

    Args:
        modes: What is enabled.
        worker: The worker.
        hooks: What was put into its model runner.
        placed: What lies on its device.
    """
    runner, config = worker.model_runner, worker.vllm_config
    ranks = config.parallel_config.tensor_parallel_size
    abstention = modes.abstention
    streaks = Streaks(
        abstention.settings.patience if abstention else 1,
        _REPLAYED * (1 + host.drafted_tokens(config)),
        runner.device,
    )
    row_ids = _row_ids(runner, hooks, config)
    table, memory = RequestTable(admission(modes)), Memory()
    lag = Lag(partial(_held_token, table, memory))
    filtering = modes.filtering
    value_filter = (
        _value_filter(filtering, placed, worker, table, lag, memory) if filtering else None
    )
    forcing = Forcing(abstention.scripts if abstention else Scripts(), runner.device)
    build: Callable[..., Steering] = Steering
    if host.drafted_tokens(config):
        build = partial(
            SpeculativeSteering,
            DraftJudge(placed.p_good, streaks, agreement(ranks)),
            asynchronous=bool(config.scheduler_config.async_scheduling),
            device=runner.device,
        )
    steering = build(
        table=table,
        rows=Rows(config.scheduler_config.max_num_seqs, runner.device),
        abstainer=Abstainer(placed.p_good, streaks, agreement(ranks), forcing),
        value_filter=value_filter,
        forcing=forcing,
        row_ids=row_ids,
        guard=Guard(abstention.settings.on_error if abstention else OnError.RAISE),
    )
    mirror = Mirror(config.instance_id)
    return SteeredSteps(steering, lag, mirror, hooks.sampler, row_ids)


def pass_on(modes: Modes, worker: Any) -> PassedOnSteps:
    """The steps of a worker whose pipeline stage samples nothing."""
    table, instance = RequestTable(admission(modes)), worker.vllm_config.instance_id
    return PassedOnSteps(table, Mirror(instance))


def _held_token(table: RequestTable, memory: Memory, request_id: str) -> int | None:
    """The token that a live request ends in and the scheduler does not know."""
    request = table.get(request_id)
    holds = request is not None and request.filtered.holds
    return memory.token(request_id) if holds else None


def _row_ids(runner: Any, hooks: Hooks, config: VllmConfig) -> Callable[[], Sequence[str]]:
    """The requests of the batch that is being sampled, in row order."""
    if host.runner_kind(config) == "v1":
        return lambda: runner.input_batch.req_ids
    return lambda: hooks.sampler.arguments[0].req_ids


def _value_filter(  # noqa: PLR0913  (the parts it is made of)
    filtering: Filtering,
    placed: Placed,
    worker: Any,
    table: RequestTable,
    lag: Lag,
    memory: Memory,
) -> ValueFilter:
    runner, config = worker.model_runner, worker.vllm_config
    score, draws, settings = placed.p_undesirable, placed.draws, filtering.settings
    assert score is not None  # noqa: S101  (placed because filtering is enabled)
    assert draws is not None  # noqa: S101
    share = shared_values(config.parallel_config.tensor_parallel_size)
    return ValueFilter(
        score=lambda feature, choice: share(score(feature, choice)),
        table=table,
        runner=RunnerV1(runner) if host.runner_kind(config) == "v1" else RunnerV2(runner),
        draws=draws,
        lag=lag,
        memory=memory,
        fallback=FallbackRule(settings.fallback, settings.prob_weight),
        guard=Guard(settings.on_error),
        max_length=config.model_config.max_model_len,
    )
