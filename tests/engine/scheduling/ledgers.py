"""What a worker says of steps, and what became of requests, as tests of the ledger need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.engine.delivery.report import Admitted, Ending

if TYPE_CHECKING:
    from value_steer.engine.scheduling.ledger import Ledger
    from value_steer.engine.scheduling.outcomes import Outcome

STEERED = Admitted(threshold=0.5, vfd_threshold=0.25)


def row_values(*values: float | None) -> np.ndarray:
    """One value per row; ``None`` where there is none."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float32)


def judged_at(position: int, *values: float | None) -> dict[str, Any]:
    """What abstention says of rows whose sequences are of one length."""
    return {"p_good": row_values(*values), "positions": np.full(len(values), position)}


def close(
    ledger: Ledger, request_id: str, ending: Ending | None = None, tokens: int = 3
) -> Outcome:
    """What became of a request that is over now."""
    outcome = ledger.close(request_id, ending, tokens, arrived=7.5)
    assert outcome is not None
    return outcome
