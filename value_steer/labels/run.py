"""``value-steer label``: from a cache of features and a verifier to labels beside it."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from value_steer.features.cache import FeatureCache
from value_steer.labels.errors import LabelError
from value_steer.labels.store import MAX_UNREADABLE, label_cache
from value_steer.labels.text import ExactMatch, PrecomputedColumn, RegularExpression

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from value_steer.labels.judge import JudgeServer
    from value_steer.labels.verifier import Verifier

Value = TypeVar("Value")
Kind = Literal["safety", "helpfulness", "maths", "exact", "regex", "column"]


@dataclass(frozen=True, slots=True)
class LabelTask:
    """A task of labelling: the input and the source of the labels.

    Attributes:
        cache: Folder of the features.
        by: A judge's question (``safety``, ``helpfulness``) or another verifier.
        judge: Where the judge is.
        pattern: Of ``regex``.
        pattern_is_bad: A match is label 0, not 1.
        file: Of ``column``: rows with ``prompt_id``, ``sample`` and the column.
        column: Its name.
        name: Under which the labels are stored; ``None``: the verifier's.
        again: Make labels anew that are there already.
        max_unreadable: Share of the responses whose verdict may be unreadable.
        batch: Responses per call of the verifier; labels are kept after each.
    """

    cache: Path
    by: Kind
    judge: JudgeServer | None = None
    pattern: str | None = None
    pattern_is_bad: bool = False
    file: Path | None = None
    column: str = "label"
    name: str | None = None
    again: bool = False
    max_unreadable: float = MAX_UNREADABLE
    batch: int = 256


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The result of labelling.

    Attributes:
        name: Of the labels, for ``read_labels``.
        responses: How many have one.
        unreadable: How many have none, because their verdict could not be read.
        mean: Of the labels: the share of good ones where they are 0 or 1; NaN without any.
    """

    name: str
    responses: int
    unreadable: int
    mean: float


def label_folder(
    task: LabelTask, *, after_batch: Callable[[int], None] | None = None
) -> LabelSummary:
    """Label every response of a cache that has no label of this verifier yet.

    Raises:
        FeatureCacheError: There is no cache in the folder.
        StaleLabelsError: There are labels of this name that were made otherwise.
        UnreadableError: More verdicts are unreadable than is allowed.
        LabelError: The task lacks what its verifier needs, there is nothing to label, or a
            response cannot be labelled.
        JudgeError: The judge's server cannot be reached or refuses to answer.
    """
    cache = FeatureCache.open(task.cache)
    if not len(cache):
        msg = f"{task.cache} has no responses; capture some first"
        raise LabelError(msg)
    with ExitStack() as stack:
        verifier = _verifier(task, stack)
        name = task.name or verifier.name
        labels = label_cache(
            cache,
            verifier,
            name=name,
            batch=task.batch,
            again=task.again,
            max_unreadable=task.max_unreadable,
            after_batch=after_batch,
        )
    read = [label for label in labels.values() if label is not None]
    mean = sum(read) / len(read) if read else math.nan
    return LabelSummary(name, len(read), len(labels) - len(read), mean)


def _verifier(task: LabelTask, stack: ExitStack) -> Verifier:
    if task.by in {"safety", "helpfulness"}:
        return _judge(task, stack)
    if task.by == "maths":
        from value_steer.labels.maths import MathsEquality  # noqa: PLC0415  (an extra)

        return MathsEquality()
    if task.by == "regex":
        good = not task.pattern_is_bad
        return RegularExpression(_needed(task.pattern, "a pattern"), good=good)
    if task.by == "column":
        return PrecomputedColumn.from_file(_needed(task.file, "a file"), task.column)
    return ExactMatch()


def _judge(task: LabelTask, stack: ExitStack) -> Verifier:
    from value_steer.labels.judge import LLMJudge  # noqa: PLC0415  (an extra)
    from value_steer.labels.judge_prompts import HELPFULNESS, SAFETY  # noqa: PLC0415

    prompt = SAFETY if task.by == "safety" else HELPFULNESS
    return stack.enter_context(closing(LLMJudge(_needed(task.judge, "a judge's URL"), prompt)))


def _needed(value: Value | None, what: str) -> Value:
    if value is None:
        msg = f"this verifier needs {what}"
        raise LabelError(msg)
    return value
