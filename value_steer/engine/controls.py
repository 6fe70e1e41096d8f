"""What an operator sees of a running engine, and may change in it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_steer.errors import SettingsError
from value_steer.records.fields import THRESHOLD, listed, read

if TYPE_CHECKING:
    from value_steer.engine.assembly import Modes
    from value_steer.engine.requests import Admission, RequestTable

logger = logging.getLogger("value_steer")

_MODES = {"abstain": THRESHOLD, "vfd": THRESHOLD}


def described(modes: Modes, admission: Admission) -> dict[str, Any]:
    """The enabled modes with what applies to the requests that come now; plain values only."""
    found: dict[str, Any] = {}
    if (abstention := modes.abstention) is not None:
        found["abstain"] = {
            "threshold": admission.threshold,
            "min_tokens": abstention.settings.min_tokens,
            "patience": abstention.settings.patience,
            "head": str(abstention.settings.value_head_path),
        }
    if (filtering := modes.filtering) is not None and admission.filtering is not None:
        found["vfd"] = {
            "threshold": admission.filtering.threshold,
            "num_candidates": filtering.settings.num_candidates,
            "max_candidates": filtering.settings.most_candidates,
            "fallback": filtering.settings.fallback.value,
            "head": str(filtering.settings.value_head_path),
        }
    return found


def set_thresholds(table: RequestTable, asked: object) -> Admission:
    """Change the thresholds for the requests that come from now on.

    Args:
        table: The live requests, which keep theirs.
        asked: Mode to its new threshold.

    Raises:
        SettingsError: Lists every problem; nothing is changed then.
    """
    admission = table.admit
    problems: list[str] = []
    values = read(asked, _MODES, "thresholds", problems)
    if not values and not problems:
        problems.append('thresholds: names no mode; an example is {"abstain": 0.4}')
    if "abstain" in values and admission.threshold is None:
        problems.append("thresholds.abstain: this engine does not abstain")
    if "vfd" in values and admission.filtering is None:
        problems.append("thresholds.vfd: this engine does not filter")
    if problems:
        raise SettingsError(listed(problems))
    changed = admission
    if "abstain" in values:
        changed = replace(changed, threshold=values["abstain"])
    if "vfd" in values and changed.filtering is not None:
        changed = replace(changed, filtering=replace(changed.filtering, threshold=values["vfd"]))
    table.admit = changed
    logger.warning("thresholds changed for the requests that come now: %s", values)
    return changed
