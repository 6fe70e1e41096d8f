"""What came of a run, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.actions.records import JobReport, OnlyGithub


def jobs(reports: Sequence[JobReport]) -> str:
    """A row for each job."""
    rows = [
        (
            report.job if report.name == report.job else f"{report.job}: {report.name}",
            _result(report),
            str(sum(step.log is not None for step in report.steps)),
            f"{report.seconds:.0f}",
            ", ".join(step.name for step in report.steps if step.only_github),
        )
        for report in reports
    ]
    return _table(("job", "result", "steps run", "s", "steps for GitHub alone"), rows)


def left_out(parts: Iterable[OnlyGithub]) -> str:
    """A row for each thing that only GitHub can do."""
    rows = [(part.job, part.step, part.why) for part in parts]
    if not rows:
        return "Only GitHub: nothing\n"
    return _table(("only GitHub: job", "step", "what it needs"), rows)


def _result(report: JobReport) -> str:
    if report.why:
        return f"{report.outcome} ({report.why})"
    in_part = any(step.only_github for step in report.steps)
    return f"{report.outcome}, in part" if in_part else report.outcome


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    ruled = ["-" * width for width in widths]
    lines = [
        f"| {' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))} |\n"
        for row in (head, ruled, *rows)
    ]
    return "".join(lines)
