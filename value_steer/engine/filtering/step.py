"""The decisions of one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from value_steer.engine.delivery.outbox import Verdicts
from value_steer.engine.delivery.report import StepReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.engine.filtering.late import FilteredRow


@dataclass(slots=True)
class Step:
    """The decisions of one step.

    Attributes:
        fired: Rows that abstention ends in this step.
        verdicts: For the outbox.
        report: For the scheduler.
        again: Rows that take their last position again, and the token they end in.
        ended: Rows that give out the stop token because no candidate was acceptable, with
            P(undesirable) of the last one tried.
        opened: Rows whose natural token is refused, with P(undesirable) of it.
    """

    fired: Sequence[bool]
    verdicts: Verdicts = field(default_factory=Verdicts)
    report: StepReport = field(default_factory=StepReport)
    again: dict[FilteredRow, int] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    opened: list[tuple[FilteredRow, float]] = field(default_factory=list)
