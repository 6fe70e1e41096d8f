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
from value_steer.engine.guard import Guard
from value_steer.engine.requests import Admission, FilterDefaults, RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.runners.v1 import DrawsV1, RunnerV1
from value_steer.engine.runners.v2 import DrawsV2, RunnerV2
from value_steer.engine.scheduling.mirror import Mirror
from value_steer.engine.scoring import Scorer, complement
from value_steer.engine.speculation.judging import DraftJudge
from value_steer.engine.speculation.steering import SpeculativeSteering
from value_steer.engine.steering import Steering
from value_steer.engine.steps import PassedOnSteps, SteeredSteps
from value_steer.engine.streaks import Streaks
from value_steer.errors import SettingsError
from value_steer.operating_point import (
    check_settings,
    resolve_abstain_threshold,
    resolve_vfd_threshold,
)
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.config import ModelConfig, VllmConfig

    from value_steer.config import AbstainSettings, SteerSettings, Threshold, VfdSettings
    from value_steer.engine.hooks import Hooks
    from value_steer.engine.runners import Draws
    from value_steer.engine.scoring import Score
    from value_steer.value_probe import ValueHead


_REPLAYED = 4
"""Steps of a request that may be run again: two in flight, one held, and one before."""


@dataclass(frozen=True)
class Abstention:
    """What abstention needs, resolved before the model is loaded.

    Attributes:
        settings: The ``abstain`` section.
        head: Its probability means P(good).
        threshold: What applies to requests that state none.
    """

    settings: AbstainSettings
    head: ValueHead
    threshold: Threshold


@dataclass(frozen=True)
class Filtering:
    """What value filtering needs, resolved before the model is loaded.

    Attributes:
        settings: The ``vfd`` section.
        head: Its probability means P(undesirable).
        threshold: What applies to requests that state none.
    """

    settings: VfdSettings
    head: ValueHead
    threshold: Threshold


@dataclass(frozen=True)
class Modes:
    """The enabled modes of one engine; one of them at least is there."""

    abstention: Abstention | None
    filtering: Filtering | None


@dataclass(frozen=True)
class Placed:
    """What lies on the device of a model: heads laid out for scoring, and where tokens are drawn.

    Attributes:
        p_good: P(good) of hidden states ``[rows, hidden]``: the head of abstention or, where only
            filtering is enabled, that of filtering turned round.
        p_undesirable: P(undesirable) of them; ``None`` if the engine does not filter.
        draws: Draws further candidates; ``None`` if the engine does not filter.
    """

    p_good: Score
    p_undesirable: Score | None
    draws: Draws | None

    @property
    def probe(self) -> Score:
        """A score to prove the hooks with."""
        return self.p_good


def prepare(settings: SteerSettings, model_config: ModelConfig) -> Modes | None:
    """Load the heads and resolve their thresholds; ``None``: no mode is enabled.

    Raises:
        CheckpointError: A head cannot be loaded or does not fit the model.
        CalibrationError: The operating point is not covered by the head's calibration, or that was
            made with another model or engine and ``strict`` is set.
        SettingsError: There is no threshold, or ``strict`` is set and nothing states what the
            head scores.
    """
    abstention, filtering = None, None
    if (abstain := settings.abstain) is not None and abstain.enabled:
        head = _head(abstain, "abstain", Polarity.P_GOOD, model_config)
        abstention = Abstention(abstain, head, resolve_abstain_threshold(abstain, head.card))
    if (vfd := settings.vfd) is not None and vfd.enabled:
        head = _head(vfd, "vfd", Polarity.P_UNDESIRABLE, model_config)
        filtering = Filtering(vfd, head, resolve_vfd_threshold(vfd, head.card))
    return Modes(abstention, filtering) if abstention or filtering else None


def place(modes: Modes, worker: Any, hooks: Hooks) -> Placed:
    """Put the heads on the device of a worker whose model is loaded, and prepare its sampler.

    The host measures afterwards what is left for its cache. Releases that take the model's own
    account of its memory for that are told of the heads.
    """
    runner = worker.model_runner
    scorers = [
        Scorer(mode.head.to(runner.device))
        for mode in (modes.abstention, modes.filtering)
        if mode is not None
    ]
    if runner.device.type != "cpu":
        runner.model_memory_usage += sum(scorer.bytes for scorer in scorers)
    p_good: Score = scorers[0]
    if modes.filtering is None:
        return Placed(p_good, None, None)
    p_undesirable = scorers[-1]
    if modes.abstention is None:
        p_good = complement(p_undesirable)
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
    table, memory = RequestTable(_admission(modes)), Memory()
    lag = Lag(partial(_held_token, table, memory))
    filtering = modes.filtering
    value_filter = (
        _value_filter(filtering, placed, worker, table, lag, memory) if filtering else None
    )
    parts: dict[str, Any] = {
        "table": table,
        "rows": Rows(config.scheduler_config.max_num_seqs, runner.device),
        "abstainer": Abstainer(placed.p_good, streaks, agreement(ranks)),
        "value_filter": value_filter,
        "row_ids": row_ids,
        "guard": Guard(abstention.settings.on_error if abstention else OnError.RAISE),
    }
    if host.drafted_tokens(config):
        judge = DraftJudge(placed.p_good, streaks, agreement(ranks))
        ahead = bool(config.scheduler_config.async_scheduling)
        steering: Steering = SpeculativeSteering(
            judge, asynchronous=ahead, device=runner.device, **parts
        )
    else:
        steering = Steering(**parts)
    mirror = Mirror(config.instance_id)
    return SteeredSteps(steering, lag, mirror, hooks.sampler, row_ids)


def pass_on(modes: Modes, worker: Any) -> PassedOnSteps:
    """What a worker needs whose pipeline stage samples nothing."""
    table, instance = RequestTable(_admission(modes)), worker.vllm_config.instance_id
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
        score=lambda feature: share(score(feature)),
        table=table,
        runner=RunnerV1(runner) if host.runner_kind(config) == "v1" else RunnerV2(runner),
        draws=draws,
        lag=lag,
        memory=memory,
        fallback=FallbackRule(settings.fallback, settings.prob_weight),
        guard=Guard(settings.on_error),
        max_length=config.model_config.max_model_len,
    )


def _head(
    settings: AbstainSettings | VfdSettings, section: str, wants: Polarity, config: ModelConfig
) -> ValueHead:
    head = load_value_head(settings.value_head_path, hidden_size=config.get_hidden_size())
    turned = oriented(head, wants, settings.scores)
    if turned.assumed and settings.strict:
        msg = (
            f"additional_config.{section}.strict: the head does not state what it scores; set "
            '"scores" to "p_good" or "p_undesirable", here or in its sidecar'
        )
        raise SettingsError(msg)
    at = f"additional_config.{section}"
    check_settings(turned.head.card, host.fingerprint(config), at, strict=settings.strict)
    return turned.head


def _admission(modes: Modes) -> Admission:
    abstention, filtering = modes.abstention, modes.filtering
    defaults = None
    if filtering is not None:
        settings = filtering.settings
        defaults = FilterDefaults(
            filtering.threshold,
            settings.num_candidates,
            filtering.head.card,
            most=settings.most_candidates,
        )
    if abstention is None:
        return Admission(None, 0, defaults)
    return Admission(abstention.threshold, abstention.settings.min_tokens, defaults)
