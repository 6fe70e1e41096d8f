"""All rows, grouped by what they mean to value-steer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.contracts.rows import (
    async_scheduling,
    config,
    delivery,
    entrance,
    filtering,
    runner,
    runner_v2,
    sampling,
    scheduler,
    scheduling,
    server,
    speculation,
    steps,
    texts,
    worker,
)

if TYPE_CHECKING:
    from value_steer.contracts.surface import Surface

SURFACES: tuple[Surface, ...] = (
    *worker.ROWS,
    *runner.ROWS,
    *sampling.ROWS,
    *entrance.ROWS,
    *scheduler.ROWS,
    *config.ROWS,
    *filtering.ROWS,
    *scheduling.ROWS,
    *async_scheduling.ROWS,
    *delivery.ROWS,
    *steps.ROWS,
    *texts.ROWS,
    *speculation.ROWS,
    *runner_v2.ROWS,
    *server.ROWS,
)
