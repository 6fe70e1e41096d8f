"""An operator's view of a running engine, and the changes that may be made in it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_steer.threshold_changes import parse_changes

if TYPE_CHECKING:
    from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults
    from value_steer.engine.modes import Abstention, Filtering, Modes
    from value_steer.engine.requests import RequestTable
    from value_steer.threshold_changes import ThresholdChange

logger = logging.getLogger("value_steer")


def described(modes: Modes, admission: Admission) -> dict[str, Any]:
    """The enabled modes with what applies to the requests that come now; plain values only."""
    found: dict[str, Any] = {}
    if (abstention := modes.abstention) is not None and admission.abstention is not None:
        found["abstain"] = {
            "threshold": admission.abstention.head.threshold,
            "min_tokens": abstention.settings.min_tokens,
            "patience": abstention.settings.patience,
            "action": abstention.settings.action.value,
            "head": str(abstention.settings.value_head_path),
            "heads": _named(abstention, admission.abstention),
        }
    if (filtering := modes.filtering) is not None and admission.filtering is not None:
        found["vfd"] = {
            "threshold": admission.filtering.head.threshold,
            "num_candidates": filtering.settings.num_candidates,
            "max_candidates": filtering.settings.most_candidates,
            "fallback": filtering.settings.fallback.value,
            "head": str(filtering.settings.value_head_path),
            "heads": _named(filtering, admission.filtering),
        }
    return found


def _named(
    mode: Abstention | Filtering, defaults: AbstainDefaults | FilterDefaults
) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "threshold": head.threshold,
            "head": str(mode.named[name].settings.value_head_path),
        }
        for name, head in defaults.named.items()
    }


def set_thresholds(table: RequestTable, asked: object) -> Admission:
    """Change the thresholds for the requests that come from now on.

    Args:
        table: The live requests, which keep theirs.
        asked: See :func:`value_steer.threshold_changes.parse_changes`.

    Raises:
        SettingsError: Lists every problem; nothing is changed then.
    """
    modes = {"abstain": table.admit.abstention, "vfd": table.admit.filtering}
    enabled: dict[str, Any] = {name: mode for name, mode in modes.items() if mode is not None}
    for change in parse_changes(asked, {name: mode.named for name, mode in enabled.items()}):
        enabled[change.mode] = _changed(enabled[change.mode], change)
    table.admit = replace(
        table.admit, abstention=enabled.get("abstain"), filtering=enabled.get("vfd")
    )
    logger.warning("thresholds changed for the requests that come now: %s", asked)
    return table.admit


def _changed(mode: Any, change: ThresholdChange) -> Any:
    """The settings of a mode, with another threshold for one of its heads."""
    if change.head is None:
        return replace(mode, head=replace(mode.head, threshold=change.threshold))
    head = replace(mode.named[change.head], threshold=change.threshold)
    return replace(mode, named={**mode.named, change.head: head})
