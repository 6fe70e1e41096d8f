"""Putting the parts together from the settings of one engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.config import resolve_abstain_threshold
from value_steer.engine.abstain import Abstainer
from value_steer.engine.agreement import agreement
from value_steer.engine.requests import Admission, RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.steering import Steering
from value_steer.errors import SettingsError
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from vllm.config import ModelConfig

    from value_steer.config import AbstainSettings, Threshold
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


def prepare(settings: AbstainSettings, model_config: ModelConfig) -> Abstention:
    """Load the head and resolve its threshold.

    Raises:
        CheckpointError: The head cannot be loaded or does not fit the model.
        CalibrationError: The operating point is not covered by the head's calibration.
        SettingsError: There is no threshold, or ``strict`` is set and nothing states what the
            head scores.
    """
    hidden_size = model_config.get_hidden_size()
    head = load_value_head(settings.value_head_path, hidden_size=hidden_size)
    turned = oriented(head, Polarity.P_GOOD, settings.scores)
    if turned.assumed and settings.strict:
        msg = (
            "additional_config.abstain.strict: the head does not state what it scores; set "
            '"scores" to "p_good" or "p_undesirable", here or in its sidecar'
        )
        raise SettingsError(msg)
    threshold = resolve_abstain_threshold(settings, turned.head.card)
    return Abstention(settings, turned.head, threshold)


def steer(abstention: Abstention, worker: Any) -> Steering:
    """The steering of a worker whose model is loaded."""
    runner, config = worker.model_runner, worker.vllm_config
    settings, head = abstention.settings, abstention.head.to(runner.device)
    agree = agreement(config.parallel_config.tensor_parallel_size)
    return Steering(
        table=RequestTable(Admission(abstention.threshold, settings.min_tokens)),
        rows=Rows(config.scheduler_config.max_num_seqs, runner.device),
        abstainer=Abstainer(head, settings.patience, agree),
        row_ids=lambda: runner.input_batch.req_ids,
        on_error=settings.on_error,
    )
