"""The report of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.demo.options import DemoOptions
    from value_steer.evaluation.intervals import Estimate
    from value_steer.threshold import Threshold


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """The trained head beside the exact value, at the tokens of fresh texts still undecided.

    Attributes:
        auroc: Of the head, for texts that become good; ``None`` if all or none do.
        auroc_exact: Of the exact value: no head can do better on average.
        mean_error: Mean of ``|head - exact value|``.
        tokens: How many tokens.
    """

    auroc: float | None
    auroc_exact: float | None
    mean_error: float
    tokens: int


@dataclass(frozen=True, slots=True)
class BoundFigures:
    """The share of good texts that value filtering would touch, at one level.

    Attributes:
        alpha: The level that was asked for.
        threshold: On P(undesirable).
        touched: Measured on fresh good texts, with its Clopper-Pearson interval.
        touched_exact: Its probability under the trained model, by enumeration.
    """

    alpha: float
    threshold: Threshold
    touched: Estimate
    touched_exact: float


@dataclass(frozen=True, slots=True)
class FilterFigures:
    """Value filtering, served.

    Attributes:
        bad_base: Share of bad texts without steering.
        bad_base_exact: Its probability on these prompts, by enumeration.
        bad: Share of bad texts with it.
        bad_exact: Its probability under the filtered policy.
        untouched_good: Share of the texts that were good anyway that are what they were, token for
            token.
    """

    bad_base: Estimate
    bad_base_exact: float
    bad: Estimate
    bad_exact: float
    untouched_good: Estimate


@dataclass(frozen=True, slots=True)
class AbstainFigures:
    """Dynamic abstention, served.

    Attributes:
        abstained: Share of requests that were ended.
        accuracy_base: Share of good texts without steering.
        accuracy: Share of good texts among those that were not ended.
        good_withheld: Share of the ended ones that would have become good.
        saved_tokens: Share of the tokens that were not generated.
        net_saved_tokens: The same of the tokens *per good text that is delivered*, which charges
            abstention for the good texts that it ends; both are asked again until there is one,
            and unsteered it is known for nothing which are good. ``None`` if none are.
    """

    abstained: Estimate
    accuracy_base: Estimate
    accuracy: Estimate
    good_withheld: Estimate
    saved_tokens: float
    net_saved_tokens: float | None


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt in words, and what became of it."""

    prompt: str
    base: str
    filtered: str
    abstained: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run and how many seconds it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """All figures of a demonstration.

    Attributes:
        options: What it was run with.
        head: The head beside the exact value.
        bound: The bound on false interventions, level by level.
        filtering: Value filtering.
        abstention: Dynamic abstention.
        example: A prompt on which the modes differ, if there is one.
        stages: What took how long.
    """

    options: DemoOptions
    head: HeadFigures
    bound: tuple[BoundFigures, ...]
    filtering: FilterFigures
    abstention: AbstainFigures
    example: Example | None
    stages: tuple[Stage, ...]
