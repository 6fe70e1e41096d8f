"""Trajectories and curves from recorded traffic."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from value_steer.calibration import Samples, rate_curve
from value_steer.errors import CalibrationError
from value_steer.trajectories import Trajectory, TrajectoryHeader, write_trajectories
from value_steer.value_probe import Polarity, SettingsFingerprint
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from value_steer.recalibration.labels import Joined
    from value_steer.recalibration.recorded import Answer, Traffic
    from value_steer.value_probe import HeadCard, ValueHead


def write_labelled(path: Path, head: ValueHead, traffic: Traffic, joined: Joined) -> None:
    """Write labelled answers as the trajectories that calibration reads.

    Args:
        path: Of the file, which is replaced; its folder is made if need be.
        head: Whose values they are.
        traffic: What was recorded of it.
        joined: The answers with labels, of which 1 is good.
    """
    answers = [answer for answer, _ in joined.labelled]
    header = TrajectoryHeader(traffic.scores, common_settings(answers), weights_digest(head))
    good = traffic.scores is Polarity.P_GOOD
    path.parent.mkdir(parents=True, exist_ok=True)
    write_trajectories(
        path,
        header,
        (
            _trajectory(answer, label if good else 1.0 - label)
            for answer, label in joined.labelled
            if len(answer.values)
        ),
    )


def renewed_rates(traffic: Traffic, card: HeadCard) -> HeadCard:
    """A head's card with a new target_rate curve, the only one that needs no labels.

    Answers in which nothing can be acted on are left out, so that the curve acts less often rather
    than more.

    Raises:
        CalibrationError: No answer has a value.
    """
    answers = [answer for answer in traffic.answers if len(answer.values)]
    if not answers:
        msg = "no recorded answer has more than one token, so no rate follows from them"
        raise CalibrationError(msg)
    trajectories = [_trajectory(answer, 0.0) for answer in answers]
    samples = Samples(trajectories, traffic.scores, common_settings(answers))
    curve = rate_curve(samples, traffic.rule)
    others = [other for other in card.curves if other.quantity != curve.quantity]
    return replace(card, scores=traffic.scores, curves=(*others, curve))


def common_settings(answers: Iterable[Answer]) -> SettingsFingerprint:
    """The settings of generation that all answers share."""
    settings = [answer.settings for answer in answers]
    names = [field.name for field in fields(SettingsFingerprint)]
    found = {name: {getattr(one, name) for one in settings} for name in names}
    return SettingsFingerprint(**{n: one.pop() for n, one in found.items() if len(one) == 1})


def _trajectory(answer: Answer, label: float) -> Trajectory:
    return Trajectory(answer.prompt_id, answer.values, label, prior=answer.prior)
