"""A progress bar where someone watches, a line in the log for each epoch everywhere."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.training.report import EpochReport

logger = logging.getLogger("value_steer")


class Advance(Protocol):
    """Called with the steps done so far and what to say beside the bar."""

    def __call__(self, steps: int, note: str) -> None:
        """Show it."""


@contextmanager
def progress_bar(total: int, *, shown: bool) -> Iterator[Advance]:
    """A bar of ``total`` steps on a terminal's standard error; silent elsewhere.

    It needs ``rich``, which the extra ``train`` brings.
    """
    if not shown or find_spec("rich") is None:
        yield _ignore
        return
    from rich.console import Console  # noqa: PLC0415  (an optional extra)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    described = TextColumn("{task.description}")
    with Progress(described, *columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=total)

        def advance(steps: int, note: str) -> None:
            bar.update(task, completed=steps, description=f"training  {note}")

        yield advance


def log_epoch(epoch: EpochReport) -> None:
    """One line on an epoch, at level INFO."""
    line = f"epoch {epoch.epoch}: training loss {epoch.train_loss:.4f}"
    if epoch.validation is not None:
        metrics = epoch.validation
        areas = (metrics.auroc_first, metrics.auroc_middle, metrics.auroc_last)
        ranks = " / ".join("-" if area is None else f"{area:.3f}" for area in areas)
        line += (
            f", validation loss {metrics.loss:.4f}, AUROC first / middle / last {ranks}, "
            f"calibration error {metrics.calibration_error:.3f}"
        )
    logger.info(line)


def _ignore(steps: int, note: str) -> None:
    """Where nobody watches."""
    del steps, note
