"""The picture of a calibration: whose lines it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from tests.evaluation.traces import trace
from value_steer.calibration import plot
from value_steer.calibration.sidecar import CalibrationReport
from value_steer.value_probe import HeadCard, Polarity

if TYPE_CHECKING:
    from value_steer.threshold import Threshold


def drawn(scores: Polarity, labels: list[float], threshold: Threshold = 0.25) -> list[object]:
    """The names of the lines along responses with these labels."""
    card = HeadCard(4, scores=scores, threshold=threshold)
    axes = Figure().subplots()
    report = CalibrationReport(1, 1, 1, (), None, card)
    plot._responses(axes, report, [trace([0.5, 0.75], label) for label in labels])
    return [line.get_label() for line in axes.get_lines()]


@pytest.mark.parametrize(
    ("scores", "names"),
    [
        (Polarity.P_GOOD, ["good", "bad", "default"]),
        (Polarity.P_UNDESIRABLE, ["bad", "good", "default"]),
    ],
)
def test_good_and_bad_follow_the_polarity(scores: Polarity, names: list[str]) -> None:
    """A label of 1 is what the head scores."""
    assert drawn(scores, [1.0, 0.0]) == names


def test_a_few_of_each_kind_are_enough() -> None:
    """Named once each; the rest would be a thicket."""
    names = drawn(Polarity.P_GOOD, [1.0] * 50 + [0.0] * 50)

    assert len(names) == 2 * plot._SHOWN + 1
    assert names.count("good") == names.count("bad") == 1


def test_a_threshold_that_never_acts_is_no_line() -> None:
    """It has no place on the axis."""
    assert drawn(Polarity.P_GOOD, [1.0], "never") == ["good"]
