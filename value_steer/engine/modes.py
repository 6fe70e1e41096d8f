"""The enabled modes of one engine, resolved before the model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from value_steer.engine import host
from value_steer.engine.admission import (
    AbstainDefaults,
    Admission,
    FilterDefaults,
    HeadDefaults,
)
from value_steer.engine.forcing.scripts import Scripts, resolve_scripts
from value_steer.errors import SettingsError
from value_steer.operating_point import (
    check_settings,
    resolve_abstain_threshold,
    resolve_vfd_threshold,
)
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.config import ModelConfig, VllmConfig

    from value_steer.config import AbstainSettings, SteerSettings, Threshold, VfdSettings
    from value_steer.value_probe import ValueHead


@dataclass(frozen=True)
class Abstention:
    """The parts of abstention, resolved before the model is loaded.

    Attributes:
        settings: The ``abstain`` section.
        head: Its probability means P(good).
        threshold: What applies to requests that state none.
        scripts: What it can do other than ending requests.
        named: Further heads, each with what is its own.
    """

    settings: AbstainSettings
    head: ValueHead
    threshold: Threshold
    scripts: Scripts = field(default_factory=Scripts)
    named: Mapping[str, Abstention] = field(default_factory=dict)


@dataclass(frozen=True)
class Filtering:
    """The parts of value filtering, resolved before the model is loaded.

    Attributes:
        settings: The ``vfd`` section.
        head: Its probability means P(undesirable).
        threshold: What applies to requests that state none.
        named: Further heads, each with what is its own.
    """

    settings: VfdSettings
    head: ValueHead
    threshold: Threshold
    named: Mapping[str, Filtering] = field(default_factory=dict)


@dataclass(frozen=True)
class Modes:
    """The enabled modes of one engine; one of them at least is there.

    Attributes:
        abstention: ``None`` if it is not enabled.
        filtering: ``None`` if it is not enabled.
        control_share: Share of the requests that neither acts on.
    """

    abstention: Abstention | None
    filtering: Filtering | None
    control_share: float = 0.0


def prepare(settings: SteerSettings, config: VllmConfig) -> Modes | None:
    """Load the heads and resolve their thresholds; ``None``: no mode is enabled.

    Raises:
        CheckpointError: A head cannot be loaded or does not fit the model.
        CalibrationError: The operating point is not covered by the head's calibration, or that was
            made with another model or engine and ``strict`` is set.
        SettingsError: There is no threshold, or ``strict`` is set and nothing states what the
            head scores.
    """
    abstention, filtering, model_config = None, None, config.model_config
    if (abstain := settings.abstain) is not None and abstain.enabled:
        abstention = replace(
            _abstention(abstain, "abstain", model_config),
            scripts=resolve_scripts(
                abstain, host.tokenizer(model_config), drafts=bool(host.drafted_tokens(config))
            ),
            named={
                name: _abstention(named, f"abstain.heads.{name}", model_config)
                for name, named in abstain.heads.items()
            },
        )
    if (vfd := settings.vfd) is not None and vfd.enabled:
        filtering = replace(
            _filtering(vfd, "vfd", model_config),
            named={
                name: _filtering(named, f"vfd.heads.{name}", model_config)
                for name, named in vfd.heads.items()
            },
        )
    share = 0.0 if settings.record is None else settings.record.share
    return Modes(abstention, filtering, share) if abstention or filtering else None


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


def _abstention(settings: AbstainSettings, section: str, config: ModelConfig) -> Abstention:
    head = _head(settings, section, Polarity.P_GOOD, config)
    return Abstention(settings, head, resolve_abstain_threshold(settings, head.card, section))


def _filtering(settings: VfdSettings, section: str, config: ModelConfig) -> Filtering:
    head = _head(settings, section, Polarity.P_UNDESIRABLE, config)
    return Filtering(settings, head, resolve_vfd_threshold(settings, head.card, section))


def admission(modes: Modes) -> Admission:
    """How requests enter an engine of these modes."""
    abstention, filtering = modes.abstention, modes.filtering
    return Admission(
        abstention=None
        if abstention is None
        else AbstainDefaults(
            head=_defaults(0, abstention),
            named=_named(abstention.named),
            min_tokens=abstention.settings.min_tokens,
            action=abstention.settings.action,
            scripts=abstention.scripts,
        ),
        filtering=None
        if filtering is None
        else FilterDefaults(
            head=_defaults(0, filtering),
            named=_named(filtering.named),
            candidates=filtering.settings.num_candidates,
            most=filtering.settings.most_candidates,
        ),
        control_share=modes.control_share,
    )


def _named(modes: Mapping[str, Abstention | Filtering]) -> dict[str, HeadDefaults]:
    """In the order in which their heads are placed, behind the first one."""
    return {name: _defaults(k, mode) for k, (name, mode) in enumerate(modes.items(), start=1)}


def _defaults(index: int, mode: Abstention | Filtering) -> HeadDefaults:
    return HeadDefaults(index, mode.threshold, mode.head.card)
