"""The head's scores of the tokens that the rows of a batch hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from value_steer.engine.host_copy import HostCopies, upload
from value_steer.engine.scoring import Choice
from value_steer.errors import SteeringError
from value_steer.policy import refused_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from value_steer.engine.filtering.late import FilteredRow


@dataclass(frozen=True, slots=True)
class Look:
    """The head's scores of the tokens that the rows hold.

    Attributes:
        values: P(undesirable), ``[rows]`` fp32.
        refused: Rows whose held token is refused, ``[rows]`` bool.
        copies: Both on their way to the host.
    """

    values: Tensor
    refused: Tensor
    copies: HostCopies


class HeldTokens:
    """Knows which rows hold a token that the head decides about, and asks it.

    Args:
        score: P(undesirable) of hidden states ``[rows, hidden]`` by the head that each row has,
            the same on all ranks.

    Attributes:
        special: Whether a row is decided otherwise than by its value alone.
        constrained: Whether a grammar constrains a filtered row.
    """

    def __init__(self, score: Callable[[Tensor, Choice], Tensor]) -> None:
        self._score = score
        self.lay_out([], 0)

    def lay_out(self, rows: Sequence[FilteredRow], count: int) -> None:
        """Take in the filtered rows among the ``count`` of a batch."""
        self._rows, self._count = rows, count
        self.special = self.constrained = self._all_judged = False
        self._judged: Tensor | None = None
        self._filtered = np.zeros(count, dtype=bool)
        self._filtered[[one.row for one in rows]] = True
        self._stale = True

    def changed(self) -> None:
        """Who holds a token, or who decides about it, is not what it was."""
        self._stale = True

    def changed_by(self, decided: Iterable[bool]) -> None:
        """Some rows take a position again, of which these are decided."""
        self._stale |= any(decided)

    def look(self, feature: Tensor) -> Look | None:
        """Ask the head about hidden states ``[rows, hidden]``; ``None``: no row holds a token."""
        if self._stale:
            self._prepare(feature)
        if self._judged is None:
            return None
        values = self._score(feature, self._heads)
        refused = refused_from(values, self._thresholds)
        if not self._all_judged:
            refused &= self._judged
        return Look(values, refused, HostCopies(values, refused))

    def on_host(self, look: Look | None) -> tuple[np.ndarray, list[bool]]:
        """The values and the refusals, by row.

        Raises:
            SteeringError: They are not those of this batch.
        """
        if look is None:
            return np.full(self._count, np.nan, dtype=np.float32), [False] * self._count
        values, refused = look.copies.arrived()
        if len(values) != self._count:
            msg = f"the head gave values of another batch than the {self._count} rows sampled"
            raise SteeringError(msg)
        return values, refused.tolist()

    def without(self, values: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """The values of filtered rows, NaN in all others and in ``rows``."""
        if not rows and len(self._rows) == self._count:
            return values
        given = np.where(self._filtered, values, np.float32(np.nan))
        given[list(rows)] = np.nan
        return given

    def _prepare(self, feature: Tensor) -> None:
        """Lay out who is judged in this step: who holds a token that is not decided yet."""
        judged = [False] * self._count
        thresholds = [0.0] * self._count
        heads = [0] * self._count
        self.special = self.constrained = False
        for one in self._rows:
            request, filtered = one.request, one.request.filtered
            heads[one.row] = request.vfd_head
            judged[one.row] = filtered.holds and not filtered.decided
            # Nothing is below minus infinity: whatever the head says, the token is refused.
            forced = request.refuses_next and filtered.search is None
            thresholds[one.row] = -np.inf if forced else request.refuses_from
            self.constrained |= request.constrained
            self.special |= forced or not judged[one.row] or request.constrained
        self._all_judged = all(judged)
        # A token that is given out whatever the head says has a value all the same.
        holding = any(one.request.filtered.holds for one in self._rows)
        self._judged = upload(judged, feature, torch.bool) if holding else None
        self._heads = Choice(upload(heads, feature, torch.int64), tuple(sorted(set(heads))))
        self._thresholds = upload(thresholds, feature, torch.float32)
        # What is special in this step mostly is not in the next.
        self._stale = self.special
