"""What an operator sees of a running engine, and may change in it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_steer.errors import SettingsError
from value_steer.records.fields import THRESHOLD, Field, listed, read, shown_key

if TYPE_CHECKING:
    from value_steer.engine.admission import AbstainDefaults, Admission, FilterDefaults
    from value_steer.engine.modes import Abstention, Filtering, Modes
    from value_steer.engine.requests import RequestTable
    from value_steer.threshold import Threshold

logger = logging.getLogger("value_steer")

_THRESHOLDS = {"abstain": THRESHOLD, "vfd": THRESHOLD}


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
        asked: Mode to the new threshold of its first head; under ``heads``, the same by the name
            of a head.

    Raises:
        SettingsError: Lists every problem; nothing is changed then.
    """
    problems: list[str] = []
    values = read(asked, {**_THRESHOLDS, "heads": _NAMED}, "thresholds", problems)
    named = values.pop("heads", {})
    changed = _changed(table.admit, values, None, "thresholds", problems)
    for name, own in named.items():
        at = f"thresholds.heads.{shown_key(name)}"
        changed = _changed(changed, read(own, _THRESHOLDS, at, problems), name, at, problems)
    if not values and not named and not problems:
        problems.append('thresholds: names no mode; an example is {"abstain": 0.4}')
    if problems:
        raise SettingsError(listed(problems))
    table.admit = changed
    logger.warning("thresholds changed for the requests that come now: %s", asked)
    return changed


def _changed(
    admission: Admission,
    values: dict[str, Threshold],
    name: str | None,
    at: str,
    problems: list[str],
) -> Admission:
    """An admission with other thresholds for one head of its modes; ``None`` names the first."""
    for mode, threshold in values.items():
        key, does = _WORDS[mode]
        defaults: Any = getattr(admission, key)
        if defaults is None:
            problems.append(f"{at}.{mode}: this engine does not {does}")
        elif name is None:
            head = replace(defaults.head, threshold=threshold)
            admission = replace(admission, **{key: replace(defaults, head=head)})
        elif name not in defaults.named:
            problems.append(f"{at}.{mode}: there is no such head")
        else:
            head = replace(defaults.named[name], threshold=threshold)
            heads = {**defaults.named, name: head}
            admission = replace(admission, **{key: replace(defaults, named=heads)})
    return admission


_WORDS = {"abstain": ("abstention", "abstain"), "vfd": ("filtering", "filter")}
_NAMED = Field(lambda value: isinstance(value, dict), "an object of heads by name")
