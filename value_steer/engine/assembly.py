"""Putting the parts together from the settings of one engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from value_steer.config import OnError
from value_steer.engine import host
from value_steer.engine.abstain import Abstainer
from value_steer.engine.agreement import agreement, shared_values
from value_steer.engine.filtering import ValueFilter
from value_steer.engine.guard import Guard
from value_steer.engine.requests import Admission, FilterDefaults, RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.run_ahead import RunAhead
from value_steer.engine.runners.v1 import DrawsV1, RunnerV1
from value_steer.engine.runners.v2 import DrawsV2, RunnerV2
from value_steer.engine.scoring import Scorer
from value_steer.engine.search import FallbackRule
from value_steer.engine.steering import Steering
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
    from value_steer.value_probe import ValueHead


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

    @property
    def head(self) -> ValueHead:
        """A head to prove the hooks with."""
        mode = self.abstention or self.filtering
        assert mode is not None  # noqa: S101  (what this class is for)
        return mode.head


@dataclass(frozen=True)
class Steered:
    """The parts that act on the steps of a worker."""

    steering: Steering
    value_filter: ValueFilter | None


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


def steer(modes: Modes, worker: Any, hooks: Hooks, execute: Callable[[Any], Any]) -> Steered:
    """The steering of a worker whose model is loaded.

    Args:
        modes: What is enabled.
        worker: The worker.
        hooks: What was put into its model runner.
        execute: The host's own first call of a step.
    """
    runner, config = worker.model_runner, worker.vllm_config
    ranks = config.parallel_config.tensor_parallel_size
    abstention, filtering = modes.abstention, modes.filtering
    steering = Steering(
        table=RequestTable(_admission(modes)),
        rows=Rows(config.scheduler_config.max_num_seqs, runner.device),
        abstainer=_abstainer(modes, runner.device, agreement(ranks)),
        row_ids=_row_ids(runner, hooks, config),
        on_error=abstention.settings.on_error if abstention else OnError.RAISE,
    )
    if filtering is None:
        return Steered(steering, None)
    return Steered(steering, _value_filter(filtering, steering, worker, hooks, execute))


def _row_ids(runner: Any, hooks: Hooks, config: VllmConfig) -> Callable[[], Sequence[str]]:
    """The requests of the batch that is being sampled, in row order."""
    if host.runner_kind(config) == "v1":
        return lambda: runner.input_batch.req_ids
    return lambda: hooks.sampler.arguments[0].req_ids


def _value_filter(
    filtering: Filtering,
    steering: Steering,
    worker: Any,
    hooks: Hooks,
    execute: Callable[[Any], Any],
) -> ValueFilter:
    runner, config = worker.model_runner, worker.vllm_config
    groups = runner.kv_cache_config.kv_cache_groups
    sizes = [group.kv_cache_spec.block_size for group in groups]
    v1 = host.runner_kind(config) == "v1"
    adapter = RunnerV1(runner, hooks.tap) if v1 else RunnerV2(runner)
    draws = DrawsV1(hooks.host_sampler) if v1 else DrawsV2(hooks.host_sampler)
    settings, head = filtering.settings, filtering.head.to(runner.device)
    score, share = Scorer(head), shared_values(config.parallel_config.tensor_parallel_size)
    return ValueFilter(
        score=lambda feature: share(score(feature)),
        steering=steering,
        run_ahead=RunAhead(adapter, execute, hooks.tap, sizes),
        draws=draws,
        fallback=FallbackRule(settings.fallback, settings.prob_weight, draws.probabilities),
        guard=Guard(settings.on_error, steering.ledger.counters),
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
        candidates = filtering.settings.num_candidates
        defaults = FilterDefaults(filtering.threshold, candidates, filtering.head.card)
    if abstention is None:
        return Admission(None, 0, defaults)
    return Admission(abstention.threshold, abstention.settings.min_tokens, defaults)


def _abstainer(modes: Modes, device: Any, agree: Callable[[Any], Any]) -> Abstainer:
    """Ends requests; without abstention only those whose own settings are refused."""
    if modes.abstention is not None:
        abstention = modes.abstention
        return Abstainer(
            Scorer(abstention.head.to(device)), device, abstention.settings.patience, agree
        )
    head = modes.head
    head.card, card = replace(head.card, threshold=None, curves=()), head.card
    turned = oriented(head, Polarity.P_GOOD).head
    head.card = card
    return Abstainer(Scorer(turned.to(device)), device, 1, agree)
