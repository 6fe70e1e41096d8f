"""``value-steer recalibrate``: what recorded traffic says of a head, and a new calibration."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.calibration import AbstentionRule, CalibrationOptions, calibrate_file
from value_steer.cli.one_line import one_line
from value_steer.cli.thresholds import threshold_text
from value_steer.errors import CalibrationWarning, SettingsError
from value_steer.recalibration.drift import drift_of
from value_steer.recalibration.labels import join
from value_steer.recalibration.recorded import read_traffic
from value_steer.recalibration.renewal import renewed_rates, write_labelled
from value_steer.records.codec import encode
from value_steer.records.files import unwritable
from value_steer.value_probe import load_value_head, save_value_head

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from value_steer.recalibration.drift import Drift, Level, Share
    from value_steer.recalibration.labels import Joined
    from value_steer.recalibration.recorded import Traffic
    from value_steer.threshold import Threshold
    from value_steer.value_probe import HeadCard, ValueHead

_SHOWN = 12
"""Levels of a curve on the screen; JSON has all."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A new calibration beside the old one.

    Attributes:
        joined: What the labels were joined to; ``None`` without labels.
        old: The head's card.
        new: The one that was made.
        written: Whether it has taken the old one's place.
    """

    joined: Joined | None
    old: HeadCard
    new: HeadCard
    written: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A threshold of the head's, old and new; ``None`` where the card had or has none."""

    quantity: str
    asked: float | None
    old: Threshold | None
    new: Threshold | None


def run(options: Namespace) -> int:
    """Print the drift, and make a new calibration if that is asked for.

    Returns:
        1 if the head has drifted and that is to be a failure, else 0.

    Raises:
        ValueSteerError: The traffic, the head or the labels cannot be used.
    """
    if options.write and (problem := unwritable(options.head.parent)) is not None:
        msg = f"--head {options.head}: {problem}"
        raise SettingsError(msg)
    head = load_value_head(options.head)
    rule = None
    if options.min_tokens is not None:
        rule = AbstentionRule(options.min_tokens, options.patience)
    traffic = read_traffic(options.traffic, head, rule)
    drift = drift_of(traffic, head.card)
    renewal = _renewal(options, head, traffic)
    _warn(traffic)
    if options.json:
        sys.stdout.write(json.dumps(_body(traffic, drift, renewal), indent=1) + "\n")
    else:
        lines = [*_drift_lines(traffic, drift), *_renewal_lines(options, renewal)]
        sys.stdout.write("\n".join(map(_printable, lines)) + "\n")
    return 1 if options.fail_on_drift and drift.drifted else 0


def _printable(line: str) -> str:
    """A line of a table as it is, if everything in it can be printed."""
    return line if line.isprintable() else one_line(line)


def _warn(traffic: Traffic) -> None:
    for path in traffic.torn:
        _notice(f"{path}: its last line was not written to its end, and is left out")


def _notice(text: str) -> None:
    sys.stderr.write(f"value-steer recalibrate: warning: {one_line(text)}\n")


def _renewal(options: Namespace, head: ValueHead, traffic: Traffic) -> Renewal | None:
    """Make what was asked for; the head stays what it is unless that is to be replaced."""
    if options.labels is None:
        if not options.write:
            return None
        new = renewed_rates(traffic, head.card)
        save_value_head(options.head, head, new)
        return Renewal(None, head.card, new, written=True)
    joined = join(traffic, options.labels)
    write_labelled(options.out, head, traffic, joined)
    wanted = CalibrationOptions(alpha=options.alpha or 0.05, rule=traffic.rule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CalibrationWarning)
        report = calibrate_file(options.out, options.head, wanted, write=options.write)
    for warning in caught:
        _notice(str(warning.message))
    return Renewal(joined, head.card, report.card, options.write)


def _changes(renewal: Renewal) -> Iterator[Change]:
    """The default threshold, then each level of the new curves for all prompts."""
    yield Change("threshold", None, renewal.old.threshold, renewal.new.threshold)
    for curve in renewal.new.curves:
        if curve.group is not None:
            continue
        old = renewal.old.curve(curve.quantity)
        before = {} if old is None else dict(old.points)
        for asked, threshold in curve.points:
            yield Change(curve.quantity, asked, before.get(asked), threshold)


def _drift_lines(traffic: Traffic, drift: Drift) -> Iterator[str]:
    rule = f"min_tokens {traffic.rule.min_tokens}, patience {traffic.rule.patience}"
    yield (
        f"{len(traffic.answers)} recorded answers of this head in {_files(traffic.files)}, "
        f"{traffic.others} of others; {rule}"
    )
    for one in drift.otherwise:
        yield f"generated otherwise: {one.setting} in {one.answers} answers ({one.most})"
    if not drift.levels:
        yield "the head has no target_rate curve and no threshold to compare with"
        return
    yield (
        f"{'target_rate':<12} {'threshold':<10} {'calibrated: at most':<25} "
        "would act on in the traffic (95 % intervals)"
    )
    yield from map(_level_line, _shown(drift))
    curve = [level for level in drift.levels if level.calibrated is not None]
    yield f"{len(drift.drifted)} of {len(curve)} levels have drifted"


def _shown(drift: Drift) -> list[Level]:
    """Some of the levels, evenly chosen, and the head's own threshold."""
    curve = [level for level in drift.levels if level.target_rate is not None]
    last = len(curve) - 1
    chosen = sorted({round(part * last / (_SHOWN - 1)) for part in range(_SHOWN)}) if curve else []
    own = [level for level in drift.levels if level.target_rate is None]
    return [*(curve[place] for place in chosen), *own]


def _level_line(level: Level) -> str:
    asked = "default" if level.target_rate is None else f"{level.target_rate:g}"
    calibrated = "not known"
    if (known := level.calibrated) is not None:
        calibrated = f"{known.most / known.n:.3f} ({known.low:.3f} to {known.high:.3f})"
    mark = "  drifted" if level.drifted else ""
    traffic = _share_text(level.traffic)
    return f"{asked:<12} {threshold_text(level.threshold):<10} {calibrated:<25} {traffic}{mark}"


def _share_text(share: Share) -> str:
    return f"{share.rate:.3f} ({share.low:.3f} to {share.high:.3f})"


def _renewal_lines(options: Namespace, renewal: Renewal | None) -> Iterator[str]:
    if renewal is None:
        return
    if (joined := renewal.joined) is not None:
        yield (
            f"{len(joined.labelled)} answers have a label and {joined.unlabelled} none; left out: "
            f"{joined.ambiguous} whose id others have too, {joined.contradicted} with labels that "
            f"differ; {joined.unmatched} labels are of no recorded answer"
        )
        yield f"trajectories: {options.out}"
    changes = list(_changes(renewal))
    yield f"{'':<22} {'old':<10} new"
    for change in [changes[0], *_evenly(changes[1:])]:
        asked = "" if change.asked is None else f" {change.asked:.4g}"
        name = f"{change.quantity}{asked}"
        yield f"{name:<22} {_maybe(change.old):<10} {_maybe(change.new)}"
    done = (
        f"written to {options.head}" if renewal.written else "nothing is replaced without --write"
    )
    yield done


def _evenly(changes: list[Change]) -> list[Change]:
    """Of each quantity a few."""
    found: list[Change] = []
    for quantity in dict.fromkeys(change.quantity for change in changes):
        own = [change for change in changes if change.quantity == quantity]
        step = max(1, len(own) // 5)
        found += own[::step]
    return found


def _maybe(threshold: Threshold | None) -> str:
    return "none" if threshold is None else threshold_text(threshold)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _body(traffic: Traffic, drift: Drift, renewal: Renewal | None) -> dict[str, Any]:
    """The findings, for programs."""
    body: dict[str, Any] = {
        "answers": len(traffic.answers),
        "of_other_heads": traffic.others,
        "files": traffic.files,
        "torn": [str(path) for path in traffic.torn],
        "rule": encode(traffic.rule),
        "generated_otherwise": [encode(one) for one in drift.otherwise],
        "levels": [{**encode(one), "drifted": one.drifted} for one in drift.levels],
        "drifted": len(drift.drifted),
        "renewal": None,
    }
    if renewal is not None:
        body["renewal"] = {
            "labels": None if renewal.joined is None else _counts(renewal.joined),
            "changes": [encode(change) for change in _changes(renewal)],
            "written": renewal.written,
        }
    return body


def _counts(joined: Joined) -> dict[str, int]:
    return {
        "labelled": len(joined.labelled),
        "unlabelled": joined.unlabelled,
        "ambiguous": joined.ambiguous,
        "contradicted": joined.contradicted,
        "unmatched": joined.unmatched,
    }
